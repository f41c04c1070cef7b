"""The whole reading of a description: from bytes to a machine and every finding; and fixes put into
its text.

Comes in: bytes, and the host kernel or the hosts that are asked for. Goes out: a `Checked` with the
tree, the machine and the diagnostics in order; or a text in which what is certain is corrected.
Unknown here: files, the command line, and how diagnostics are printed.
"""
