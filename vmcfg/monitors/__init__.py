"""What programs tell KVM: a VMM recorded, its record read and compared; and tables of VMMs.

In: a command to run, or the JSON Lines of a record; a `Machine`, or a command line or domain. Out:
a record, its differences from a plan or another record, and the draft of a description; the command
line or domain that creates a machine, and what QEMU decides otherwise. `ptrace` and `tracer` know
processes and no KVM; `recorder` knows KVM and no processes; `qemu` is the table of QEMU. Unknown
here: YAML, lines and columns of descriptions, and how anything is printed.
"""
