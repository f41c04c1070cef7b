"""What a finding is, and its position.

In: a rule that is broken, a path into the description, and words. Out: a `Diagnostic` with line and
column, which every report can print. Unknown here: the contents of a description, how a path is
found in its text, and the rules themselves.
"""
