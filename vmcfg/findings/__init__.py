"""What a finding is, and where it stands.

Comes in: a rule that is broken, a path into the description, words. Goes out: a `Diagnostic`,
placed by line and column, which every report can print. Unknown here: what a description holds, how
a path is found in its text, and which rules there are.
"""
