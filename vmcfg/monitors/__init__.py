"""What programs really tell KVM: a VMM recorded, its record read, compared, and made a draft.

In: a command to run, or the JSON Lines of a record. Out: a record, its differences from a plan or
another record, and the draft of a description. `ptrace` and `tracer` know processes and no KVM;
`recorder` knows KVM and no processes. Unknown here: YAML, lines and columns of descriptions, and
how anything is printed.
"""
