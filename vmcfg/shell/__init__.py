"""Generated files of the repository: completion, manual pages, schemas, examples, REFERENCE.md.

In: the commands from click, the tables of the rooms below, and the cases of the tests. Out: the
contents of files, which ``python -m vmcfg.shell`` writes. Unknown here: what the commands do.
"""
