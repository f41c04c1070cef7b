"""What vmcfg knows, in words: every rule, key, and command, the order, the identifiers, and the
names and numbers of the uapi.

Comes in: the tables of the rooms below. Goes out: lines of text for `vmcfg explain` and
`vmcfg decode --attr`, and the parts of them for REFERENCE.md. Unknown here: the command line, and
any description except the examples.
"""
