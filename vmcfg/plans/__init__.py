"""What KVM is told: a machine lowered to ordered commands, and plans read back and compared.

Comes in: a `Machine`, or a plan's JSON Lines. Goes out: a `Plan`, whose commands each know their
operation, their row of the sequence, their value, and the path that the value comes from. The table
is `sequence`; what a command is, `command` and `operations`; what a value is, `values`. Unknown
here: YAML, lines and columns, which rules hold, and how a plan is printed.
"""
