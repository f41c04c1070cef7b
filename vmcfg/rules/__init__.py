"""What must hold: rules over a description's ranges, over the machine, and over the hosts that it
is to run on.

Comes in: a `Machine`; before it, what a description's text says (`ranges`); and hosts. Goes out:
each breach as a `Finding`, with the rule that it breaks. A topic is a file; topics that are close
share a hundred of the ids. Unknown here: how the text was read, where a path stands in it, and how
findings are printed.
"""
