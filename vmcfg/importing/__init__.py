"""From what exists to a description: the kinds of sources, and how each is recognized and read.

In: open files, or the words of a command line. Out: a draft of a description.
It does not know options of the command line, and writes nothing, except that a record is
incomplete.
"""
