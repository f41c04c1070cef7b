"""What vmcfg knows, in words for people: every rule, key, attribute, order and identifier.

Comes in: the tables of the rooms below. Goes out: lines of text for `vmcfg explain`. Unknown here:
the command line, and any description but the examples.
"""
