"""What vmcfg knows, in words: rules, keys, commands, the order, identifiers, and names of the uapi.

Comes in: the tables of the rooms below. Goes out: lines of text for `vmcfg explain` and
`vmcfg decode --attr`, and the parts of them for REFERENCE.md. Unknown here: the command line, and
any description except the examples.
"""
