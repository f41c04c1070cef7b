"""The complete check of a description: from bytes to a machine and every finding."""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmcfg.description.half_read import HalfRead
from vmcfg.description.reading import read_description
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic, diagnose, in_order
from vmcfg.findings.finding import Finding, Found
from vmcfg.findings.position import Path, Position, Span
from vmcfg.findings.rule import ERROR, Rule
from vmcfg.kernel.version import Version
from vmcfg.rules.kinds import RuleFailed
from vmcfg.rules.machine_rules import findings
from vmcfg.rules.ranges import range_findings
from vmcfg.text.tree import Tree
from vmcfg.vm.expansion import machine
from vmcfg.vm.machine import Machine

if TYPE_CHECKING:
    from vmcfg.kernel.host import Host


class Defaults:
    """Defaults in the text `data`, whose keys hold where a description has none, with the findings
    about them alone. If there are any, no description can be planned with them.
    """

    __slots__ = ("data", "diagnostics", "tree")

    def __init__(self, data: bytes, tree: Tree, diagnostics: list[Diagnostic]) -> None:
        self.data = data
        self.tree = tree
        self.diagnostics = diagnostics


class Checked(NamedTuple):
    """A description after its check. `machine` is None if keys, values, or ranges are invalid."""

    tree: Tree
    machine: Machine | None
    diagnostics: list[Diagnostic]

    def plannable(self, strict: bool, unchecked: bool) -> Machine | None:
        """Return the machine if there are no errors; with `strict`, also no warnings.

        With `unchecked`, findings do not matter.
        """
        has_errors = any(found.severity == ERROR or strict for found in self.diagnostics)
        return self.machine if unchecked or not has_errors else None

    def count(self, severity: str) -> int:
        """Return the number of findings with this severity."""
        return sum(found.severity == severity for found in self.diagnostics)


def check(
    data: bytes,
    file: str,
    host_kernel: Version | None = None,
    hosts: "Sequence[Host]" = (),
    defaults: Defaults | None = None,
) -> Checked:
    """Check the description `data` of `file`, with the keys of `defaults` where it has none.

    `host_kernel` overrides that of the description, and `hosts` override both: each finding then
    names its hosts. Raises `CheckFailed` if the check itself fails.
    """
    try:
        tree = Tree(file, data)
        if defaults is None:
            return _checked(tree, host_kernel, hosts)
        return _checked_over(tree, defaults, host_kernel, hosts)
    except Exception as error:
        raise CheckFailed(file, error) from error


def check_again(checked: Checked, host_kernel: Version) -> Checked:
    """Return the check of the same description for another kernel.

    Raises `CheckFailed` if the check itself fails.
    """
    if checked.machine is None:
        return checked
    try:
        return _checked_machine(checked.tree, checked.machine.on_kernel(host_kernel))
    except Exception as error:
        raise CheckFailed(checked.tree.file, error) from error


def with_findings(checked: Checked, found: Iterable[Found]) -> Checked:
    """Return `checked` with more findings about its description.

    Raises `CheckFailed` if what finds them fails.
    """
    try:
        more = placed(checked.tree, found)
    except Exception as error:
        raise CheckFailed(checked.tree.file, error) from error
    return checked._replace(diagnostics=in_order([*checked.diagnostics, *more]))


class CheckFailed(Exception):
    """A defect of vmcfg in the check of `file`; the text names the file and the rule in work."""

    def __init__(self, file: str, error: Exception) -> None:
        rule = f", rule {error.rule.id}" if isinstance(error, RuleFailed) else ""
        cause = error.__cause__ or error
        super().__init__(
            f"internal error in {printable(file)}{rule}: {type(cause).__name__}: {cause}"
        )


def _checked_over(
    tree: Tree, defaults: Defaults, host_kernel: Version | None, hosts: "Sequence[Host]"
) -> Checked:
    """Return the check of a description with defaults."""
    from vmcfg.description.defaults import WalkOverUnreadDefaults, merged

    root = tree.root
    if root is not None and defaults.tree.root is not None:
        root = merged(root, defaults.tree.root)
    both = tree.over(defaults.tree, root)
    if not defaults.diagnostics:
        return _checked(both, host_kernel, hosts)
    diagnostics = [*tree.diagnostics, *defaults.diagnostics]
    if root is not None:
        # Only about the values in the description itself: without defaults, the rest is unknown.
        description, found = read_description(root, WalkOverUnreadDefaults)
        own = placed(both, [*found, *range_findings(description)])
        diagnostics += [each for each in own if each.file == tree.file]
    return Checked(both, None, in_order(diagnostics))


def _checked(tree: Tree, host_kernel: Version | None, hosts: "Sequence[Host]") -> Checked:
    """Return the check of the description in `tree`."""
    if tree.root is None:
        return Checked(tree, None, in_order(tree.diagnostics))
    description, found = read_description(tree.root)
    found += range_findings(description)
    if found or tree.diagnostics or isinstance(description, HalfRead):
        return Checked(tree, None, in_order(tree.diagnostics + placed(tree, found)))
    vm = machine(description)
    if hosts:
        return _checked_on(tree, vm, hosts)
    if host_kernel is not None:
        vm = vm.on_kernel(host_kernel)
    return _checked_machine(tree, vm)


def _checked_machine(tree: Tree, vm: Machine) -> Checked:
    return Checked(tree, vm, in_order(placed(tree, findings(vm))))


def _checked_on(tree: Tree, vm: Machine, hosts: "Sequence[Host]") -> Checked:
    """Return the findings on all hosts, equal ones only once, and the machine for the oldest
    kernel.
    """
    from vmcfg.rules.hosts import as_on, findings_on

    alike: dict[Diagnostic, list[str]] = {}
    for host in hosts:
        here = vm.on_kernel(host.kernel)
        told = [(rule, as_on(host, rule, finding)) for rule, finding in findings(here)]
        remaining = [(rule, finding) for rule, finding in told if finding is not None]
        for found in placed(tree, (*remaining, *findings_on(vm, host))):
            alike.setdefault(found, []).append(host.name)
    checked = len(hosts)
    diagnostics = [
        found._replace(hosts=tuple(names), hosts_checked=checked) for found, names in alike.items()
    ]
    oldest = vm.on_kernel(min(host.kernel for host in hosts))
    return Checked(tree, oldest, in_order(diagnostics))


def _used(place: Position) -> Position:
    """Return a related place where the reader meets it: at its last alias, if any."""
    return place._replace(span=place.uses[-1]) if place.uses else place


def _placed_one(tree: Tree, rule: Rule, finding: Finding, place: Position) -> Diagnostic:
    """Return a finding as a diagnostic, with its related places."""
    others = [tree.position(path) for path, _ in finding.related]
    if any(other.uses for other in (place, *others)):
        from vmcfg.checking.shared_values import hint_of_shared_value

        hint = hint_of_shared_value(finding, place, others)
        if hint is not None:
            finding = finding._replace(hint=hint)
    related = [
        (_used(other), words) for other, (_, words) in zip(others, finding.related, strict=True)
    ]
    return diagnose(tree.file, rule, finding, place, related)


def _depends_on_other_file(tree: Tree, finding: Finding, place: Position) -> bool:
    """Return whether a finding in the defaults is due to a place in the description: a change there
    would be one for every other description, too.
    """
    return bool(place.file) and any(not tree.position(path).file for path, _ in finding.related)


def placed(tree: Tree, found: Iterable[tuple[Rule, Finding]]) -> list[Diagnostic]:
    """Return `found` as diagnostics: one for a value that is used through several aliases."""
    found = tuple(found)
    if not found:
        return []
    by_place: dict[tuple[str, Position, int], tuple[Rule, Finding, dict[Span, None]]] = {}
    seen: Counter[tuple[str, Path, str]] = Counter()
    fixable: list[tuple[Finding, Position]] = []
    for rule, finding in found:
        place = tree.position(finding.path, finding.on)
        if finding.fix is not None and not _depends_on_other_file(tree, finding, place):
            fixable.append((finding, place))
        # Every path to the same value has the same findings in the same order.
        way = rule.id, finding.path, finding.on
        key = rule.id, place._replace(uses=()), seen[way]
        seen[way] += 1
        _, _, uses = by_place.setdefault(key, (rule, finding, {}))
        uses.update(dict.fromkeys(place.uses))
    diagnostics = [
        _placed_one(tree, rule, finding, place._replace(uses=tuple(uses)))
        for (_, place, _), (rule, finding, uses) in by_place.items()
    ]
    if fixable:
        from vmcfg.checking.fix_placement import certain_fixes

        fixes = certain_fixes(tree, fixable)
        diagnostics = [
            found._replace(fix=fixes.get(place)) if finding.fix is not None else found
            for found, ((_, place, _), (_, finding, _)) in zip(
                diagnostics, by_place.items(), strict=True
            )
        ]
    return diagnostics
