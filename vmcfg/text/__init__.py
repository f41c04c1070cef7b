"""Bytes to nodes with positions: YAML read event by event.

Comes in: a file's bytes. Goes out: a `Tree`, whose nodes keep their text and their place, or the
VMC10x findings that are in the way. Unknown here: which keys a description has, and what its values
mean.
"""
