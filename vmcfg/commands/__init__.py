"""The commands, a file each: what the command line says is done by the rooms below, and printed.

Comes in: arguments and options. Goes out: output, and an exit code. Unknown here: anything that
another command or a library call would need too; that stands in a room below.
"""
