"""From bytes to nodes with positions: YAML, read event by event.

In: the bytes of a file. Out: a `Tree`, whose nodes keep their text and their position, or the
VMC10x findings that prevent it. Unknown here: the keys of a description, and the meaning of values.
"""
