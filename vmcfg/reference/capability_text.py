"""The capabilities that a description can enable, in words."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.kernel.version import version_text
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES, VmCapability
from vmcfg.reference.layout import WIDEST, wrapped


def capabilities_lines(width: int = WIDEST) -> Iterator[str]:
    """Yield each capability for the key `capabilities`, with its argument and its limits."""
    yield from wrapped(
        "The key 'capabilities' enables them on the VM with KVM_ENABLE_CAP, in file order, before"
        " memory slots and vCPUs. KVM_CAP_ARM_MTE is the feature 'mte'.",
        width,
    )
    for name in VM_CAPABILITIES:
        yield ""
        yield f"  {name}"
        yield from capability_lines(name, width, "    ")


def capability_lines(name: str, width: int, indent: str) -> Iterator[str]:
    """Yield what enabling one capability of VM_CAPABILITIES does, and what it requires."""
    capability = VM_CAPABILITIES[name]
    yield from wrapped(capability.doc, width, indent)
    yield from wrapped(_argument(capability), width, f"{indent}argument: ")
    if capability.requires is not None:
        yield from wrapped(capability.requires, width, f"{indent}after:    ")
    yield f"{indent}since:    Linux {version_text(capability.since)}"
    yield from wrapped(capability.source, width, f"{indent}source:   ")


def _argument(capability: VmCapability) -> str:
    if capability.allowed is None:
        return "none"
    return f"{capability.allowed}; for example {capability.example}"
