"""Plans: a machine lowered to ordered commands, and plans that are read and compared.

In: a `Machine`, or the JSON Lines of a plan. Out: a `Plan`, whose commands each have their
operation, their row of the sequence, their value, and the path of its origin. `sequence` is the
table; `command` and `operations` define commands, and `values` defines values. Unknown here: YAML,
lines and columns, rules, and how a plan is printed.
"""
