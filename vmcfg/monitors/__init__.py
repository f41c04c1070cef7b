"""What programs that create VMs send to KVM: one table per program.

In: a `Machine`, or the options of a command line. Out: the options that create this machine, the
draft of a description of the VM that options create, and what a program decides otherwise than a
description. Unknown here: the other output formats, and how findings are printed.
"""
