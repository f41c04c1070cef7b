"""What a command is: one operation on one object, with a value; and the row of the sequence that it
comes from.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.kernel.abi import Attr, Register
from vmcfg.kernel.version import LINUX_6_1, Version
from vmcfg.plans.apis import APIS, Api
from vmcfg.plans.phases import PlanPhase
from vmcfg.plans.values import Payload, ValueType
from vmcfg.vm.machine import Machine, Vcpu

if TYPE_CHECKING:
    from vmcfg.kernel.ioctls import Vm

Target = Literal["vm", "gic", "its", "vcpu", "pmu"]
"""The kinds of objects that commands speak to. `pmu` is the device of the interfaces that were
never merged.
"""


class Operation:
    """One way of telling KVM something: the ioctl, what it is given, and how a command of it is
    written and performed.

    The operations themselves are in `vmcfg.plans.operations`, one class each.
    """

    word: ClassVar[str]
    """Its name in a plan."""
    ioctl: ClassVar[str]
    """Its name in the uapi."""
    request: ClassVar[int]
    does: ClassVar[str] = ""
    """What the plan's schema says of it beyond its ioctl."""
    sets_value: ClassVar[bool] = False
    """Whether it sets a value of an object that exists: these alone are in the scope
    `attributes`.
    """
    makes_target: ClassVar[bool] = False
    """Whether it makes the object that it names, and so needs none to speak to."""

    def group(self, command: "Command") -> str:
        """The third field of a plan's line."""
        return "-"

    def attr(self, command: "Command") -> str:
        """The fourth field of a plan's line."""
        return "-"

    def title(self, command: "Command") -> str:
        """The ioctl and what it sets, as findings name it:
        ``KVM_CREATE_DEVICE(KVM_DEV_TYPE_ARM_VGIC_V3)``.
        """
        return self.ioctl

    def arguments(self, command: "Command") -> dict[str, Any]:
        """What the ioctl is given, by the keys of schemas/plan-v1.schema.json."""
        raise NotImplementedError

    def payload(self, arguments: Mapping[str, Any], row: "Row") -> Payload:
        """The value that a plan's line says by the keys of `arguments`.

        Raises `KeyError`, `TypeError`, `AttributeError`, `ValueError` or `struct.error` where it
        says none.
        """
        raise NotImplementedError

    def perform(self, vm: "Vm", command: "Command") -> None:
        """Tell KVM. Raises `OSError`."""
        raise NotImplementedError

    def read(self, vm: "Vm", command: "Command") -> bytes:
        """What KVM says, for an operation that reads. Raises `OSError`."""
        raise NotImplementedError

    def c_members(self, command: "Command") -> Iterator[str]:
        """The members of `struct vmcfg_command`, as C initializers, that carry what the ioctl is
        given.
        """
        raise NotImplementedError

    def c_names(self, command: "Command") -> Iterator[tuple[str, str]]:
        """The uapi's names that a command stands for, each with its number in C."""
        return iter(())

    def schema(self, rows: "Sequence[Row]") -> dict[str, Any]:
        """The JSON Schema of what `arguments` gives, and of the value; `rows` are those of the
        operation.
        """
        raise NotImplementedError


class Selected(NamedTuple):
    """One value that a row sends.

    `origin` is where it is written, or what called for it. `vcpu` is whom it is for, `its` the
    number of the ITS. `attr_id` is the attribute's number, where that names the vCPU. Without a
    `payload` only the host knows the number of what is called `host_name`.
    """

    payload: Payload | None
    origin: Path | None = None
    vcpu: Vcpu | None = None
    its: int | None = None
    attr_id: int | None = None
    host_name: str | None = None


class Row:
    """One kind of command.

    `attr` is the attribute of set-attr and `register` the register of set-reg. `field` is the key
    of the description that it carries, by its dotted path. `since` is the first mainline release
    that has it and `source` says who says so; `errors` what each errno means there, `absent` what
    older kernels say. `readable` is true where KVM gives the value back, and `read_doc` says then
    what it is; `vm_wide` is true of what is set once and read back on every vCPU. It is sent under
    `apis`, and where `gic_version` is not None, to a GIC of that version alone.
    """

    __slots__ = (
        "absent",
        "apis",
        "attr",
        "doc",
        "errors",
        "field",
        "gic_version",
        "name",
        "operation",
        "phase",
        "read_doc",
        "readable",
        "register",
        "select",
        "since",
        "source",
        "target",
        "value",
        "vm_wide",
    )

    def __init__(
        self,
        *,
        name: str,
        phase: PlanPhase,
        operation: Operation,
        target: Target,
        value: ValueType,
        select: Callable[[Machine], Iterator[Selected]],
        doc: str,
        field: str,
        source: str,
        errors: Mapping[str, str],
        attr: Attr | None = None,
        register: Register | None = None,
        gic_version: int | None = None,
        since: Version = LINUX_6_1,
        readable: bool = False,
        read_doc: str | None = None,
        vm_wide: bool = False,
        absent: str = "ENXIO",
        apis: Sequence[Api] = APIS,
    ) -> None:
        self.name = name
        self.phase = phase
        self.operation = operation
        self.target = target
        self.value = value
        self.select = select
        self.doc = doc
        self.field = field
        self.source = source
        self.errors = errors
        self.attr = attr
        self.register = register
        self.gic_version = gic_version
        self.since = since
        self.readable = readable
        self.read_doc = read_doc or doc
        self.vm_wide = vm_wide
        self.absent = absent
        self.apis = apis

    def __repr__(self) -> str:
        return f"Row({self.name})"


class Command(NamedTuple):
    """One command: `operation` is its row's, or where it reads back what the row sets, the one that
    reads.

    `value` shows `payload`, cut to its C type; without a payload only the host knows the number of
    what is called `host_name`. `mpidr` is its vCPU's, dotted. `attr_id` is the attribute's number
    where that names the vCPU, and is another in each command of the row.
    """

    operation: Operation
    row: Row
    target: str
    value: str
    payload: Payload | None
    mpidr: str | None = None
    origin: Path | None = None
    attr_id: int | None = None
    host_name: str | None = None

    @property
    def attr(self) -> Attr | None:
        """The device attribute that is set or read, if the command is one of those."""
        attr = self.row.attr
        if attr is None or self.attr_id is None:
            return attr
        return Attr(attr.group, attr.group_id, hex(self.attr_id), self.attr_id)

    @property
    def number(self) -> int:
        """The value where it is one number."""
        assert self.payload is not None
        (number,) = self.payload
        return number

    @property
    def data(self) -> bytes | None:
        """What the kernel reads at the attribute's or register's address; None where it reads
        nothing, or is not known.
        """
        return None if self.payload is None else self.row.value.data(self.payload)

    @property
    def is_resolved(self) -> bool:
        """Whether every number that the ioctl is given is known."""
        return self.payload is not None

    @property
    def read_start(self) -> bytes:
        """What the buffer of a GET holds before the call, as long as what the kernel writes
        there.
        """
        assert self.payload is not None
        return self.row.value.read_start(self.payload)

    def fields(self) -> tuple[str, str, str, str, str, str]:
        """The six fields of the text format: op, target, group, attr, type, value."""
        operation = self.operation
        return (
            operation.word,
            self.target,
            operation.group(self),
            operation.attr(self),
            self.row.value.word,
            self.value,
        )

    def text(self) -> str:
        """The command as a line of the text format."""
        return " ".join(self.fields())

    @property
    def title(self) -> str:
        """The ioctl and what it sets, as findings name it:
        ``KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)``.
        """
        return self.operation.title(self)

    def call(self) -> dict[str, Any]:
        """The ioctl behind the command, by the keys of schemas/plan-v1.schema.json: its request and
        its argument.
        """
        return {"request": hex(self.operation.request), **self.operation.arguments(self)}
