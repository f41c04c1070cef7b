"""The rules: over the ranges of a description, over the machine, and over hosts.

In: a `Machine`; before there is one, the values as written (`ranges`); and hosts. Out: each breach
as a `Finding`, with its rule. Each topic has a file; close topics share a hundred of the ids.
Unknown here: how the text was read, where a path is in it, and how findings are printed.
"""
