"""Plans written down, a module a format; `registry` lists them.

Comes in: a `Plan`, and the `Tree` that knows where its paths stand in the description. Goes out:
text. A format is a function of these two. Unknown here: files, terminals, options of the command
line but the format's own.
"""
