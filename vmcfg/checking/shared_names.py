"""VMC724: VMs of one run that have the same name."""

from __future__ import annotations

from vmcfg.checking.check import Checked
from vmcfg.findings.diagnostic import Related, diagnose, in_order
from vmcfg.findings.finding import Finding
from vmcfg.findings.position import Path
from vmcfg.findings.rule import WARNING, Rule
from vmcfg.text.tree import Tree

NAME: Path = ("name",)

DUPLICATE_VM_NAME = Rule(
    "VMC724",
    "duplicate-vm-name",
    """The VMs of the files that are checked together should have different names.

    Hosts, libvirt, and plans in one directory identify a VM by its name.""",
    WARNING,
    found_by="run",
)


def with_duplicate_name(checked: Checked, first: Tree) -> Checked:
    """Return `checked` with a finding: the description `first` has the same name."""
    machine = checked.machine
    assert machine is not None
    message = f"the VM name '{machine.name}' is already used by another file"
    finding = Finding(NAME, message, hint="use a different name for each VM")
    place = checked.tree.position(NAME)
    diagnostic = diagnose(checked.tree.file, DUPLICATE_VM_NAME, finding, place, ())
    there = Related(first.file, first.position(NAME).span, "used here")
    diagnostic = diagnostic._replace(related=(*diagnostic.related, there))
    return checked._replace(diagnostics=in_order([*checked.diagnostics, diagnostic]))
