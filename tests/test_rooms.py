"""The rooms of vmcfg, from the ground up, and in each its files: what stands below is all that a file may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "vmcfg"

ROOMS: dict[str, tuple[str, ...]] = {
    "": ("escape", "nearest", "files", "parallel"),
    "arm": ("affinity", "interrupts"),
    "kernel": (
        "version",
        "limits",
        "abi",
        "capabilities",
        "features",
        "host_pmus",
        "ioctls",
        "probing",
        "host",
    ),
    "findings": ("position", "rule", "finding", "diagnostic"),
    "text": ("rules", "pure_parser", "nodes", "tree"),
    "description": (
        "rules",
        "written",
        "yaml_readings",
        "kinds",
        "model",
        "unknown_keys",
        "reading",
        "schema",
    ),
    "vm": ("machine", "expansion", "frames", "identifiers", "readings", "identifier_limits"),
    "plans": (
        "apis",
        "phases",
        "values",
        "rows",
        "selection",
        "sequence",
        "order",
        "command",
        "plan",
        "lowering",
        "reading_back",
        "planfile",
        "difference",
    ),
    "rules": (
        "kinds",
        "ranges",
        "memory",
        "vcpus",
        "gic",
        "pmu",
        "timers",
        "host_kernel",
        "hosts",
        "apis",
        "machine_rules",
    ),
    "checking": ("fix_placement", "check", "fixes"),
    "trial": ("rules", "outcome", "stand_in_gic", "perform", "judging", "predictions"),
    "formats": ("headings", "unresolved", "text", "json_lines", "sh", "c"),
    "reference": ("every_rule",),
    "reports": (
        "form",
        "terminal",
        "styled",
        "concise",
        "human",
        "as_json",
        "github",
        "sarif",
        "progress",
    ),
    "commands": (
        "exit_codes",
        "options",
        *[
            "validate",
            "emit",
            "show",
            "decode",
            "explain",
            "example",
            "try_",
            "probe",
            "diff",
            "schema",
        ],
    ),
    "cli": (),
    "shell": ("command_line", "completion", "manual", "generated"),
    "__main__": (),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__").replace("__init__", ""), path


def imports(path: Path) -> Iterator[tuple[str, int]]:
    known = {name for name, _ in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "vmcfg"
        ):
            base = node.module.removeprefix("vmcfg").removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                yield (inner if inner in known else base), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "vmcfg":
                    yield alias.name.removeprefix("vmcfg").removeprefix("."), node.lineno


def place(name):
    room, _, file = name.rpartition(".")
    if room == "" and name in ROOMS:
        return (list(ROOMS).index(name), -1)
    if room == "" and file not in ROOMS[""]:
        return (99, 0)
    files = ROOMS[room]
    return (list(ROOMS).index(room), files.index(file) if file in files else 50)


if __name__ == "__main__":
    for name, path in modules():
        if name == "":
            continue
        for imp, line in imports(path):
            if imp == "":
                continue
            if place(imp) >= place(name):
                print(f"{path.relative_to(PACKAGE)}:{line}: {name} imports {imp}")
