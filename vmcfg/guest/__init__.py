"""What the guest sees of a VM: device trees and ACPI tables.

In: the bytes of a device tree or of tables. Out: a draft of a description.
It does not know files, commands, or how the kind of a source is recognized.
"""
