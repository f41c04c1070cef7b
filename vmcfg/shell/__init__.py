"""What is generated from the tables and the commands, and lies in the repository: completion, manual pages, schemas.

Comes in: the commands as click has them. Goes out: the texts of files; ``python -m vmcfg.shell`` writes them. Unknown here:
what the commands do.
"""
