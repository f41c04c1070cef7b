"""The complete check of a description, from bytes to a machine with every finding, and its fixes.

In: bytes, and possibly the host kernel or the hosts. Out: a `Checked` with the tree, the machine,
and the diagnostics in order, or a text with all unambiguous fixes. Unknown here: files, the command
line, and how diagnostics are printed.
"""
