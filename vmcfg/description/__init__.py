"""The format of descriptions: its keys, and how they are read.

In: the nodes of a `Tree`. Out: a `Description` whose values have the types of their keys, or the
part of it that could be read, with the VMC1xx findings about single values and keys. `model` is the
table of the keys, and `kinds` has the kinds of values. Unknown here: rules about several values,
commands of KVM, lines, and columns.
"""
