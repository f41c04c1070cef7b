"""Output forms of findings, with one module per form: for people, or for programs.

In: diagnostics, with the text of their positions. Out: text, for a terminal with a width, colors,
and an encoding. `form` lists the forms for programs. Unknown here: rules, how files were found, and
exit codes.
"""
