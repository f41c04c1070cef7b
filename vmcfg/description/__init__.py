"""What a description may say, and how it is read.

Comes in: the nodes of a `Tree`. Goes out: a `Description` whose values have the types of their
keys, or what could be read of it; with the VMC1xx findings about single values and keys. The table
of keys is `model`, the kinds of values `kinds`. Unknown here: what two values say together, KVM's
commands, lines and columns.
"""
