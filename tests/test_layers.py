"""Who may import whom: each module only from those above it. The list is the architecture, top to bottom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vmcfg"

LAYERS = [
    {"vmcfg", "places", "kvm"},
    {"ioctls"},
    {"survey"},
    {"report"},
    {"scalars"},
    {"model"},
    {"files", "parallel", "pure_parser"},
    {"tree"},
    {"decode"},
    {"machine"},
    {"host"},
    {"sequence", "order"},
    {"rules.gic"},
    {
        "rules.memory",
        "rules.vcpus",
        "rules.pmu",
        "rules.timers",
        "rules.host",
        "rules.api",
        "rules.hosts",
        "rules.kernel",
    },
    {"rules"},
    {"lowering", "identifiers"},
    {"difference"},
    {"certain"},
    {"checking"},
    {"fixes", "reports"},
    {"reports.as_json", "reports.github", "reports.sarif"},
    {"standin"},
    {"perform", "planfile"},
    {"verdict"},
    {"formats"},
    {"formats.text", "formats.lines", "formats.sh", "formats.c"},
    {"console", "schema"},
    {"cli"},
    {"commands"},
    {
        "commands.validate",
        "commands.diff",
        "commands.emit",
        "commands.explain",
        "commands.example",
        "commands.schema",
        "commands.show",
        "commands.decode",
        "commands.try_",
        "commands.probe",
    },
    {"interface"},
    {"completion", "manual"},
    {"share"},
    {"__main__"},
]
"""Modules of one layer do not see each other."""

FUNCTIONS_IMPORT_LATER = {("vmcfg", "checking"), ("vmcfg", "lowering")}
"""The library's two functions load what they need when they are called, so that `import vmcfg` costs nothing."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__").replace("__init__", "vmcfg"), path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Each module of vmcfg that a file imports when it runs, with the line; what only types need is left out."""
    tree = ast.parse(path.read_text())
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    known = {name for name, _ in modules()}
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vmcfg":
            base = node.module.removeprefix("vmcfg").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                yield (inner if inner in known else base or "vmcfg"), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "vmcfg":
                    yield alias.name.removeprefix("vmcfg").removeprefix(".") or "vmcfg", node.lineno


def layer(name: str) -> int:
    return next(place for place, names in enumerate(LAYERS) if name in names)


def test_every_module_has_its_layer() -> None:
    assert {name for name, _ in modules()} == set().union(*LAYERS)


def test_modules_import_only_from_above() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {name} imports {imported}"
        for name, path in modules()
        for imported, line in imports(path)
        if layer(imported) >= layer(name) and (name, imported) not in FUNCTIONS_IMPORT_LATER
    ]
    assert not wrong, "\n".join(wrong)


def users(*wanted: str) -> set[str]:
    """The modules that import one of these from outside vmcfg."""
    found = set()
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            roots = []
            if isinstance(node, ast.Import):
                roots = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots = [node.module.split(".")[0]]
            if set(roots) & set(wanted):
                found.add(name)
    return found


def test_yaml_is_read_in_one_place() -> None:
    assert users("yaml") == {"tree", "decode", "pure_parser"}


def test_rich_only_draws() -> None:
    assert users("rich") == {"console"}


def test_only_ioctls_talks_to_the_kernel() -> None:
    assert users("ctypes", "fcntl", "mmap") == {"ioctls"}


def test_only_files_opens_files() -> None:
    opening = {
        name
        for name, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print")
    }
    assert opening == {"files"}
