"""One description emitted: checked, and written in the requested format unless it has errors."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmcfg.checking.check import Checked, Defaults, check, with_findings
from vmcfg.findings.diagnostic import Diagnostic, in_order
from vmcfg.formats.registry import MachineFormat, Option, PlanFormat
from vmcfg.formats.unresolved import unresolved_diagnostics
from vmcfg.kernel.version import Version
from vmcfg.plans.apis import VCPU, Api
from vmcfg.plans.lowering import lower
from vmcfg.plans.phases import PlanPhase
from vmcfg.plans.plan import STATE_SCOPE, Plan, Scope
from vmcfg.plans.reading_back import read_back
from vmcfg.rules import apis as api_rules
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


class Wanted(NamedTuple):
    """What is emitted of each description, and how it is checked.

    `options` are those that only some formats have, by name.
    """

    format: PlanFormat | MachineFormat
    scope: Scope
    phases: tuple[PlanPhase, ...]
    api: Api
    device_type: int | None
    get: bool
    options: dict[str, Option]
    unchecked: bool
    strict: bool
    host_kernel: Version | None
    hosts: "Sequence[Host]"
    defaults: Defaults | None


class Run(NamedTuple):
    """The command line of a run over many descriptions: `check` compares and writes nothing, and
    `prune` removes files that no description produces.
    """

    paths: tuple[str, ...]
    excluded: tuple[str, ...]
    output: str
    stdin_filename: str
    defaults_path: str | None
    check: bool
    prune: bool
    jobs: int | None
    color: str


class Emitted(NamedTuple):
    """A description after its check, and `data`, which is emitted: None if errors prevent it.

    `plan` is the plan in `data`, if its format contains one.
    """

    checked: Checked
    data: bytes | None = None
    plan: Plan | None = None


def checked_for(data: bytes, name: str, wanted: Wanted) -> Checked:
    """Return the check of the description `data` of the file `name`, with the findings of the
    requested API and format.
    """
    checked = check(data, name, wanted.host_kernel, wanted.hosts, wanted.defaults)
    checked = _held_to_api(checked, wanted.api)
    checked = _held_to_scope(checked, wanted.scope)
    return _held_to_format(checked, wanted.format)


def emitted(
    checked: Checked, wanted: Wanted, shown_name: str | None = None, defaults_name: str = ""
) -> Emitted:
    """Return what is emitted of a description that `checked_for` has checked.

    If `shown_name` is not None, it is the name of the description in what is emitted, and
    `defaults_name` is that of its defaults.
    """
    machine = checked.plannable(wanted.strict, wanted.unchecked)
    if machine is None:
        return Emitted(checked)
    tree = checked.tree
    if shown_name is not None:
        tree = tree.renamed(shown_name, defaults_name)
    if isinstance(wanted.format, MachineFormat):
        return Emitted(checked, ascii_bytes(wanted.format.written(machine)))
    plan = _plan(machine, wanted)
    unresolved = _unresolved(plan, checked.tree, wanted)
    if unresolved:
        found = in_order([*checked.diagnostics, *unresolved])
        return Emitted(checked._replace(diagnostics=found))
    return Emitted(checked, ascii_bytes(wanted.format.written(plan, tree, wanted.options)), plan)


def ascii_bytes(written: str) -> bytes:
    """Return the bytes of a text: only the name of the description can have other characters."""
    return written.encode("ascii", "backslashreplace")


def _plan(machine: Machine, wanted: Wanted) -> Plan:
    """Return the requested plan of `machine`."""
    if wanted.scope == STATE_SCOPE:
        from vmcfg.plans.saving import state_plan

        return state_plan(machine, saves=wanted.get, unchecked=wanted.unchecked)
    if wanted.get:
        return read_back(machine, wanted.phases, wanted.unchecked, wanted.api)
    pmu_types: dict[str, int] = {}
    if wanted.hosts:
        from vmcfg.kernel.host import common_pmu_types

        pmu_types = common_pmu_types(wanted.hosts)
    return lower(
        machine,
        wanted.scope,
        wanted.phases,
        wanted.unchecked,
        wanted.api,
        wanted.device_type,
        pmu_types,
    )


def _held_to_api(checked: Checked, api: Api) -> Checked:
    """Return `checked` with the findings about keys that the API does not support."""
    if checked.machine is None or api == VCPU:
        return checked
    return with_findings(checked, api_rules.unsupported(checked.machine, api))


def _held_to_scope(checked: Checked, scope: Scope) -> Checked:
    """Return `checked` with what prevents saving and restoring the vGIC, if that is the scope."""
    if checked.machine is None or scope != STATE_SCOPE:
        return checked
    from vmcfg.rules.state import findings_for_state

    found = with_findings(checked, findings_for_state(checked.machine))
    # Without a GIC, there is nothing to save, regardless of --unchecked.
    return found if checked.machine.gic is not None else found._replace(machine=None)


def _held_to_format(checked: Checked, format_: PlanFormat | MachineFormat) -> Checked:
    """Return `checked` with what prevents a format of whole VMs."""
    if checked.machine is None or not isinstance(format_, MachineFormat):
        return checked
    return with_findings(checked, format_.findings(checked.machine))


def _unresolved(plan: Plan, tree: Tree, wanted: Wanted) -> list[Diagnostic]:
    """Return the findings that prevent an executable plan."""
    numbers = wanted.options["numbers"]
    if wanted.scope == STATE_SCOPE:
        # The caller's buffer has the values.
        return []
    if not numbers and not wanted.format.is_executable:
        return []
    option = "--numbers" if numbers else f"--format {wanted.format.name}"
    return unresolved_diagnostics(plan, tree, option)
