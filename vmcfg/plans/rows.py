"""TODO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.kernel.abi import Attr
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import APIS
from vmcfg.vm.machine import Machine, Vcpu


class Selected(NamedTuple):
    """One value that a row sends.

    `origin` is where it is written, or what called for it. `vcpu` is whom it is for, `its` the number of the ITS.
    `attr_id` is the attribute's number, where that names the vCPU.
    """

    value: Any
    origin: Path | None = None
    vcpu: Vcpu | None = None
    its: int | None = None
    attr_id: int | None = None


class Row(NamedTuple):
    """One kind of command.

    `target` is ``vm``, ``gic``, ``its``, ``vcpu`` or ``pmu``; `attr` is None but for set-attr. `field` is the key of the
    description that it carries, by its dotted path. `since` is the first mainline release that has it and `source` says
    who says so; `errors` what each errno means there, `absent` what older kernels say. `read` gives what a GET of it
    starts from, and is None where it can't be read back; `vm_wide` is true of what is set once and read back on every
    vCPU. It is sent under `apis`.
    """

    name: str
    phase: str
    op: str
    target: str
    attr: Attr | None
    type: str
    show: Callable[[Any], str]
    select: Callable[[Machine], Iterator[Selected]]
    doc: str
    field: str
    since: Version
    source: str
    errors: dict[str, str]
    read: Callable[[Any], int] | None = None
    vm_wide: bool = False
    absent: str = "ENXIO"
    apis: tuple[str, ...] = APIS
