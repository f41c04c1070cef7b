"""vmcfg compiles a YAML description of an arm64 KVM virtual machine into the commands that set its
device attributes.

`check` and `plan` are the library; everything else is private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmcfg.findings.diagnostic import Diagnostic
    from vmcfg.plans.plan import Plan

__version__ = "0.1.0"
__all__ = ["InvalidDescription", "check", "plan"]


class InvalidDescription(ValueError):
    """A description that can't be planned; `diagnostics` say why."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__(
            "; ".join(
                f"{found.span.line}:{found.span.column}: {found.message}" for found in diagnostics
            )
        )
        self.diagnostics = diagnostics


def check(text: str | bytes, file: str = "<text>") -> list[Diagnostic]:
    """Every finding about the description `text`, in the order of its lines; an empty list where
    there is none.
    """
    from vmcfg.checking.check import check

    return check(_bytes(text), file).diagnostics


def plan(text: str | bytes, file: str = "<text>") -> Plan:
    """The commands that set up the VM of `text`, objects and attributes. Raises
    `InvalidDescription` at any error.
    """
    from vmcfg.checking.check import check
    from vmcfg.plans.lowering import lower
    from vmcfg.plans.plan import WHOLE_VM

    checked = check(_bytes(text), file)
    if checked.machine is None or not checked.stands(strict=False):
        raise InvalidDescription(checked.diagnostics)
    return lower(checked.machine, WHOLE_VM)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
