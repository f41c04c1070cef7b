"""The rooms of vmcfg, from the lowest up, and the files of each room.

A file imports only from the rooms before its own room, and in its own room only from the files
before it. This includes imports for types.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vmcfg"

ROOMS: dict[str, tuple[str, ...]] = {
    "": ("escape", "nearest", "exit_codes", "files", "writing", "parallel", "script"),
    "arm": ("affinity", "interrupts", "smccc"),
    "kernel": (
        "version",
        "limits",
        "abi",
        "capabilities",
        "vm_capabilities",
        "registers",
        "settable_registers",
        "register_fields",
        "features",
        "state",
        "host_pmus",
        "ioctls",
        "probing",
        "host",
        "host_facts",
        "common_registers",
    ),
    "findings": ("position", "rule", "finding", "diagnostic"),
    "text": (
        "rules",
        "pure_parser",
        "nodes",
        "node_reader",
        "positions",
        "layers",
        "syntax",
        "tree",
    ),
    "description": (
        "rules",
        "written",
        "yaml_readings",
        "kinds",
        "model",
        "misplaced",
        "other_shapes",
        "unknown_keys",
        "half_read",
        "reading",
        "defaults",
        "schema",
        "draft",
    ),
    "vm": (
        "machine",
        "expansion",
        "overlaps",
        "frames",
        "map",
        "identifiers",
        "readings",
        "identifier_limits",
    ),
    "plans": (
        "apis",
        "phases",
        "values",
        "command",
        "operations",
        "selection",
        "sequence",
        "order",
        "plan",
        "lowering",
        "reading_back",
        "state",
        "state_order",
        "saving",
        "header",
        "planfile",
        "difference",
        "schema",
    ),
    "rules": (
        "kinds",
        "repeated",
        "ranges",
        "memory",
        "vcpus",
        "features",
        "capabilities",
        "registers",
        "gic",
        "devices",
        "pmu",
        "timers",
        "steal_time",
        "smccc",
        "host_kernel",
        "registers_on_hosts",
        "hosts",
        "apis",
        "state",
        "machine_rules",
    ),
    "checking": ("fix_placement", "shared_values", "check", "defaults", "fixes", "shared_names"),
    "guest": (
        "blob",
        "dtc",
        "intids",
        "tree_interrupts",
        "tree_pmus",
        "devicetree",
        "tree_source",
        "acpi",
        "acpi_source",
        "rules",
    ),
    "trial": (
        "rules",
        "task",
        "outcome",
        "perform",
        "refusals",
        "judging",
        "predictions",
        "verdict",
        "report",
        "on_host",
        "stand_in_gic",
        "calls",
        "trying",
        "script",
        "plan_lines",
        "transcript",
        "kernel_image",
        "initrd",
        "compiled",
        "emulated",
        "boot",
        "probing_images",
    ),
    "monitors": (
        "attributes",
        "ptrace",
        "tracer",
        "recorder",
        "recording",
        "schema",
        "record_file",
        "setup",
        "comparison",
        "record_draft",
        "qemu",
        "qemu_words",
        "qemu_command_line",
        "rules",
        "libvirt",
        "libvirt_rules",
    ),
    "formats": (
        "headings",
        "sections",
        "unresolved",
        "text",
        "json_lines",
        "sh",
        "state_c",
        "c",
        "reproducer",
        "registry",
    ),
    "reference": (
        "every_rule",
        "examples",
        "vmm_examples",
        "conditional_examples",
        "layout",
        "rule_text",
        "attribute_text",
        "answers",
        "errno_text",
        "capability_text",
        "register_text",
        "uapi_text",
        "attribute_numbers",
        "order_text",
        "order_json",
        "identifier_text",
        "state_text",
        "plan_fields",
        "surprises",
        "explanations",
    ),
    "importing": ("sources", "drafting"),
    "reports": (
        "form",
        "terminal",
        "styled",
        "concise",
        "snippet",
        "human",
        "as_json",
        "github",
        "ktap",
        "sarif",
        "junit",
        "gitlab",
        "progress",
    ),
    "api": (),
    "commands": (
        "defects",
        "options",
        "findings_output",
        "found_in_defaults",
        "checked_file",
        "run_output",
        "fixed_defaults",
        "validate",
        "emission",
        "staleness",
        "emitted_folder",
        "emit_many",
        "emit",
        "import_",
        "map_output",
        "show",
        "decode",
        "explain",
        "example",
        "image",
        "boot_elsewhere",
        "script_of_trials",
        "examples_tried",
        "try_",
        "probe",
        "record",
        "sides",
        "diff",
        "schema",
    ),
    "cli": (),
    "shell": (
        "command_line",
        "completion",
        "manual",
        "markdown",
        "reference_page",
        "generated",
        "__main__",
    ),
    "__main__": (),
}


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


class Module(NamedTuple):
    """A file of vmcfg: its name without "vmcfg." (empty for vmcfg/__init__.py), and its path."""

    name: str
    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    def nodes(self) -> list[ast.AST]:
        return nodes_of(self.path)


class Import(NamedTuple):
    """An import: the full name, the line, and whether it is in a function or only for types."""

    name: str
    line: int
    late: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [Module(name_of(path), path) for path in sorted(PACKAGE.rglob("*.py"))]
LIBRARY, *_ = MODULES
PACKAGES = [module for module in MODULES[1:] if module.path.name == "__init__.py"]
FILES = [module for module in MODULES if module.path.name != "__init__.py"]

PLACES = {
    ".".join(filter(None, (room, file))): (level, place)
    for level, (room, files) in enumerate(ROOMS.items())
    for place, file in enumerate(files or ("",))
}
"""The position of each module: the number of its room, and its number in the room."""


def room_of(name: str) -> str:
    """Return the room of a module. A file at the top level is its own room, or is in the lowest."""
    return name if name in ROOMS else name.rpartition(".")[0]


def is_for_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def imports(module: Module) -> Iterator[Import]:
    """Yield every import in a file. For ``from a import b``, the name is a.b."""
    nodes = module.nodes()
    late = {
        inner
        for node in nodes
        if isinstance(node, ast.FunctionDef) or is_for_types(node)
        for inner in ast.walk(node)
    }
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, node in late)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origin = "." * node.level + (node.module or "")
                yield Import(f"{origin}.{alias.name}", node.lineno, node in late)


def imported_rooms(module: Module) -> Iterator[Import]:
    """Yield every import of a listed module of vmcfg, by its name without "vmcfg."."""
    for each in imports(module):
        top, _, name = each.name.partition(".")
        if top == "vmcfg":
            # The last part is a file, or a name that a file defines.
            listed = name if name in PLACES else name.rpartition(".")[0]
            if listed in PLACES:
                yield each._replace(name=listed)


def in_words(names: list[str]) -> str:
    return ", ".join(names) or "none"


# The list --------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", FILES, ids=str)
def test_every_file_is_listed(module: Module) -> None:
    room = room_of(module.name)
    file = module.name.rpartition(".")[2]
    assert room in ROOMS, (
        f"{module} is in no room: add {room!r} to ROOMS in tests/test_rooms.py, after every room"
        " that it imports and before every room that imports it"
    )
    assert module.name in PLACES, (
        f"{module} is not listed: add {file!r} to ROOMS[{room!r}] in tests/test_rooms.py, after"
        " the files of this room that it imports and before those that import it"
    )


def test_everything_listed_exists() -> None:
    gone = sorted(set(PLACES) - {module.name for module in FILES})
    assert not gone, (
        f"ROOMS in tests/test_rooms.py lists files that are not in vmcfg/: remove {in_words(gone)}"
    )


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_a_room_opens_with_what_it_is_and_nothing_else(package: Module) -> None:
    tree = ast.parse(package.path.read_text())
    docstring = ast.get_docstring(tree) or ""
    assert len(docstring.splitlines()) > 1, (
        f"{package}: write a docstring with the input and the output of this room, and with what"
        " it must not know"
    )
    rest = [node.lineno for node in tree.body[1:] if isinstance(node, ast.stmt)]
    assert not rest, (
        f"{package}:{rest[0]}: move this into a file of the room: an __init__ contains only a"
        " docstring, so that the import of one file does not load others"
    )


# The direction ---------------------------------------------------------------------------------


def misplaced(module: Module) -> Iterator[str]:
    """Yield a sentence for every import of a module after the file, with ways to correct it."""
    room = room_of(module.name)
    level, _ = PLACES[module.name]
    order = list(ROOMS)
    for each in imported_rooms(module):
        if PLACES[each.name] < PLACES[module.name]:
            continue
        other = room_of(each.name)
        what = f"{module}:{each.line} imports vmcfg.{each.name}"
        if room == other:
            yield (
                f"{what}, which is after it in ROOMS[{room!r}]: change the order of the list if"
                " no cycle results, or move the code that both need into a file before both"
            )
        else:
            below = [name or "the top level" for name in order[:level]]
            above = order[order.index(other) :]
            yield (
                f"{what}, but the room {other!r} is above {room or 'the top level'!r}. Code"
                f" that {module.name} needs can be in {in_words([*below, room])}. Code that needs"
                f" vmcfg.{each.name} can be in {in_words(above)}"
            )


@pytest.mark.parametrize("module", FILES, ids=str)
def test_a_file_imports_only_what_stands_before_it(module: Module) -> None:
    if module.name in PLACES:  # another test reports modules that are not listed
        assert not (wrong := list(misplaced(module))), "\n".join(wrong)


def test_the_library_imports_when_it_is_called() -> None:
    """`import vmcfg` is fast: its functions import what they need, and types are only for mypy."""
    early = [
        f"{LIBRARY}:{each.line}: move the import of vmcfg.{each.name} into the function that needs"
        " it, or under TYPE_CHECKING"
        for each in imported_rooms(LIBRARY)
        if not each.late
    ]
    assert not early, "\n".join(early)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_are_written_in_full(module: Module) -> None:
    wrong = [f"{module}:{each.line}" for each in imports(module) if each.name.startswith(".")]
    assert not wrong, f"{wrong}: write the import in full, from vmcfg on"


# What only some files can do -------------------------------------------------------------------


class Privilege(NamedTuple):
    """An action of only some files: importing one of `packages`, or calling one of `functions`."""

    reason: str
    files: tuple[str, ...]
    packages: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()


PRIVILEGES = {
    "yaml": Privilege(
        "PyYAML is known only where text becomes nodes and where a node becomes a value",
        files=(
            "text.pure_parser",
            "text.nodes",
            "text.node_reader",
            "text.syntax",
            "text.tree",
            "description.reading",
        ),
        packages=("yaml", "_yaml"),
    ),
    "rich": Privilege(
        "rich only draws, and is slow to import",
        files=("reports.styled", "reports.progress"),
        packages=("rich",),
    ),
    "kernel": Privilege(
        "only these files talk to the kernel",
        files=("kernel.ioctls", "monitors.ptrace", "writing"),
        packages=("ctypes", "fcntl", "mmap"),
    ),
    "files": Privilege(
        "only these files open and print, so that every failure is reported in one way",
        files=("files", "writing"),
        functions=("open", "print"),
    ),
}


def path_of(name: str) -> str:
    return f"vmcfg/{name.replace('.', '/')}.py"


def uses(module: Module, privilege: Privilege) -> dict[int, str]:
    """Return the lines in which a file does what needs a privilege, with the action."""
    found = {
        each.line: f"imports {each.name.partition('.')[0]}"
        for each in imports(module)
        if each.name.partition(".")[0] in privilege.packages
    }
    calls = [node for node in module.nodes() if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id in privilege.functions:
            found[call.lineno] = f"calls {call.func.id}()"
    return found


@pytest.mark.parametrize("privilege", PRIVILEGES.values(), ids=PRIVILEGES)
def test_only_these_files_do_it(privilege: Privilege) -> None:
    using = {module.name: (module, uses(module, privilege)) for module in MODULES}
    allowed = in_words([path_of(name) for name in privilege.files])
    wrong = [
        f"{module}:{line} {what}: {privilege.reason}; do it in {allowed}"
        for name, (module, lines) in using.items()
        for line, what in lines.items()
        if name not in privilege.files
    ]
    assert not wrong, "\n".join(wrong)
    idle = [name for name in privilege.files if name not in using or not using[name][1]]
    assert not idle, (
        f"{in_words(idle)} does so no longer: remove it from PRIVILEGES in tests/test_rooms.py"
    )
