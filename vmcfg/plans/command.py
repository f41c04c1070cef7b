"""Commands: one operation on one object, with a value, and the row of the sequence behind it."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from vmcfg.findings.position import Path
from vmcfg.kernel.abi import Attr, Register
from vmcfg.kernel.version import LINUX_6_1, Version
from vmcfg.plans.apis import APIS, Api
from vmcfg.plans.phases import PlanPhase
from vmcfg.plans.values import Payload, ValueType
from vmcfg.vm.machine import Machine, Vcpu

FIELDS = ("op", "target", "group", "attr", "type", "value")
"""The names of the six fields of a command, which are its first keys in JSON."""

Target = Literal["vm", "gic", "its", "vcpu", "pmu"]
"""The kinds of targets. `pmu` is the device of the two interfaces that were never merged."""


class Operation:
    """An ioctl, its arguments, and how a command with it is written.

    `vmcfg.plans.operations` has one class per operation.
    """

    word: ClassVar[str]
    """Its name in a plan."""
    ioctl: ClassVar[str]
    """Its name in the uapi."""
    request: ClassVar[int]
    does: ClassVar[str] = ""
    """What the schema of plans adds to the name of its ioctl."""
    sets_value: ClassVar[bool] = False
    """Whether it sets a value of an existing object."""
    scanned: ClassVar[str]
    """The format of sscanf() for its line in `--numbers`."""
    scanned_as: ClassVar[str]
    """The meaning of what sscanf() stores, other than the target."""
    makes_target: ClassVar[bool] = False
    """Whether it creates its target, which therefore must not exist before."""

    def group(self, command: "Command") -> str:
        """Return the third field of a plan line."""
        return "-"

    def attr(self, command: "Command") -> str:
        """Return the fourth field of a plan line."""
        return "-"

    def title(self, command: "Command") -> str:
        """Return the ioctl and what it sets, as in findings:
        ``KVM_CREATE_DEVICE(KVM_DEV_TYPE_ARM_VGIC_V3)``.
        """
        return self.ioctl

    def arguments(self, command: "Command") -> dict[str, Any]:
        """Return the arguments of the ioctl by the keys of schemas/plan-v1.schema.json."""
        raise NotImplementedError

    def numbers(self, command: "Command") -> tuple[int, int, bytes]:
        """Return the group, the attribute, and the data of a command as `--numbers` prints them."""
        raise NotImplementedError

    def payload(self, arguments: Mapping[str, Any], row: "Row") -> Payload:
        """Return the value in the `arguments` of a plan line.

        Raises `KeyError`, `TypeError`, `AttributeError`, `ValueError`, or `struct.error` if they
        have no valid value.
        """
        raise NotImplementedError

    def c_members(self, command: "Command") -> Iterator[str]:
        """Return the members of `struct vmcfg_command` with the arguments, as C initializers."""
        raise NotImplementedError

    def c_names(self, command: "Command") -> Iterator[tuple[str, str]]:
        """Return the names of the uapi for a command, each with its number in C."""
        return iter(())

    def schema(self, rows: "Sequence[Row]") -> dict[str, Any]:
        """Return the JSON Schema of arguments and value; `rows` are those of the operation."""
        raise NotImplementedError


class Selected(NamedTuple):
    """One value that a row sends.

    `origin` is where it is written, or what it comes from. `vcpu` is the vCPU that it is for, and
    `its` is the number of the ITS. `attr_id` is the attribute number if that identifies the vCPU.
    Without a `payload`, only the host knows the number for `host_name`. `register` is the register
    of a row that has none.
    """

    payload: Payload | None
    origin: Path | None = None
    vcpu: Vcpu | None = None
    its: int | None = None
    attr_id: int | None = None
    host_name: str | None = None
    register: Register | None = None


class Row:
    """One kind of command.

    `attr` is the attribute of set-attr, and `register` is the register of set-reg, if all commands
    of the row have the same. A row that `creates` belongs to the scope `vm` alone. `field` is the
    dotted path of the key of the description. `since` is the first release that supports it, with
    its `source`. `errors` has the meaning of each errno, and older kernels fail with `absent`.
    `guest` says what the guest must do for the value to have an effect, or is empty.
    `readable` is true if KVM can return the value, since `read_since`; `read_doc` describes it.
    `vm_wide` is true if the value is set once and can be read back on every vCPU. The command is
    sent with `apis`, and if `gic_version` is not None, only to a GIC of that version.
    """

    __slots__ = (
        "absent",
        "apis",
        "attr",
        "creates",
        "doc",
        "errors",
        "field",
        "gic_version",
        "guest",
        "name",
        "operation",
        "phase",
        "read_doc",
        "read_since",
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
        creates: bool = False,
        gic_version: int | None = None,
        since: Version = LINUX_6_1,
        readable: bool = False,
        read_doc: str | None = None,
        read_since: Version = LINUX_6_1,
        vm_wide: bool = False,
        absent: str = "ENXIO",
        apis: Sequence[Api] = APIS,
        guest: str = "",
    ) -> None:
        self.name = name
        self.phase = phase
        self.operation = operation
        self.target = target
        self.value = value
        self.select = select
        self.doc = doc
        self.guest = guest
        self.field = field
        self.source = source
        self.errors = errors
        self.attr = attr
        self.register = register
        self.creates = creates or not operation.sets_value
        self.gic_version = gic_version
        self.since = since
        self.readable = readable
        self.read_doc = read_doc or doc
        self.read_since = read_since
        self.vm_wide = vm_wide
        self.absent = absent
        self.apis = apis

    def __repr__(self) -> str:
        return f"Row({self.name})"


class Command(NamedTuple):
    """One command: `operation` is that of its row, or the one that reads back what the row sets.

    `value` is the text of `payload`, cut to its C type; without a payload, only the host knows the
    number for `host_name`. `mpidr` is that of its vCPU, dotted. `attr_id` is the attribute number
    if that identifies the vCPU and therefore differs between commands of the row. `own_register` is
    the register if the row has none.
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
    own_register: Register | None = None

    @property
    def register(self) -> Register:
        """Return the register that the command sets or reads."""
        register = self.own_register or self.row.register
        assert register is not None
        return register

    @property
    def attr(self) -> Attr | None:
        """Return the device attribute that the command sets or reads, if any."""
        attr = self.row.attr
        if attr is None or self.attr_id is None:
            return attr
        return Attr(attr.group, attr.group_id, hex(self.attr_id), self.attr_id)

    @property
    def number(self) -> int:
        """Return the value if it is one number."""
        assert self.payload is not None
        (number,) = self.payload
        return number

    @property
    def data(self) -> bytes | None:
        """Return what the kernel reads at the address of the attribute or register.

        None if it reads nothing there, or if the value is unknown.
        """
        return None if self.payload is None else self.row.value.data(self.payload)

    @property
    def is_resolved(self) -> bool:
        """Return whether every number in the arguments of the ioctl is known."""
        return self.payload is not None

    @property
    def read_start(self) -> bytes:
        """Return the buffer of a GET before the call, as long as what the kernel writes there."""
        assert self.payload is not None
        return self.row.value.read_start(self.payload)

    def fields(self) -> tuple[str, str, str, str, str, str]:
        """Return the six fields of the text format: op, target, group, attr, type, value."""
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
        """Return the command as a line of the text format."""
        return " ".join(self.fields())

    @property
    def title(self) -> str:
        """Return the ioctl and what it sets, as in findings:
        ``KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ)``.
        """
        return self.operation.title(self)

    def call(self) -> dict[str, Any]:
        """Return the request and the arguments of the ioctl by the keys of
        schemas/plan-v1.schema.json.
        """
        return {"request": hex(self.operation.request), **self.operation.arguments(self)}
