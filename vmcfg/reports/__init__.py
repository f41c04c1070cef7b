"""Findings written down, a module a form: drawn for a person, or for a program to read.

Comes in: diagnostics, with the text that they point into. Goes out: text, for a terminal of a given
width, colors and encoding. `form` lists the forms that programs read. Unknown here: which rules
hold, how files were found, and what the exit code will be.
"""
