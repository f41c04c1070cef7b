"""The commands, one file each: they call the rooms below and print the results.

In: arguments and options. Out: output, and an exit code. Anything that another command or a library
call also needs belongs to a room below.
"""
