"""What is generated and kept in the repository: completion, manual pages, schemas, an example of
each rule, and REFERENCE.md.

Comes in: the commands as click has them, the tables of the rooms below, the cases of the tests.
Goes out: the content of files; ``python -m vmcfg.shell`` writes them all. Unknown here: what the
commands do.
"""
