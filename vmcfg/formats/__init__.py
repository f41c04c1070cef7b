"""The output formats of plans, with one module per format; `registry` lists them.

In: a `Plan`, and the `Tree` that has the positions of its paths in the description. Out: text. A
format is a function of these two. Unknown here: files, terminals, and command-line options other
than those of a format.
"""
