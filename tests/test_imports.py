"""The modules that `validate` and `emit` load in addition to click and PyYAML: each costs time at
every start.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def of_rooms(**files: str) -> set[str]:
    """Return the modules of vmcfg that these files are, by room, and the rooms themselves."""
    return {f"vmcfg.{room}" for room in files} | {
        f"vmcfg.{room}.{file}" for room, names in files.items() for file in names.split()
    }


CHECKING = {
    "vmcfg",
    "vmcfg.__main__",
    "vmcfg.cli",
    "vmcfg.escape",
    "vmcfg.exit_codes",
    "vmcfg.files",
    "gc",
    "signal",
} | of_rooms(
    arm="affinity interrupts",
    kernel="abi features limits version",
    findings="diagnostic finding position rule",
    text="node_reader nodes rules tree",
    description="half_read kinds model reading rules written yaml_readings",
    vm="expansion frames machine",
    rules=(
        "capabilities devices features gic host_kernel kinds machine_rules memory pmu ranges"
        " registers repeated smccc steal_time timers vcpus"
    ),
    checking="check",
    commands="options",
)
"""The modules that both need: from text to findings."""
VALIDATE = {"vmcfg.parallel"} | of_rooms(
    reports="form terminal", commands="checked_file run_output validate"
)
EMIT = of_rooms(
    plans=("apis command lowering operations phases plan reading_back selection sequence values"),
    rules="apis",
    formats="registry unresolved",
    commands="emission emit findings_output",
)
TEXT = of_rooms(formats="headings text")
JSON = {"json", "json.decoder", "json.encoder", "json.scanner"} | of_rooms(
    formats="json_lines", text="positions"
)

CASES = {
    "validate": (["validate"], CHECKING | VALIDATE),
    "emit": (["emit"], CHECKING | EMIT | TEXT),
    "emit --format jsonl": (["emit", "--format", "jsonl"], CHECKING | EMIT | JSON),
}

NOTED = """
import atexit, sys
noted = sys.argv.pop(1)
atexit.register(lambda: open(noted, "w").write(" ".join(sys.modules)))
"""
BARE = NOTED + "import click, yaml; click.Command('bare').main([], standalone_mode=False)"
VMCFG = NOTED + "import vmcfg.__main__; vmcfg.__main__.main()"


def modules(script: str, noted: Path, arguments: list[str]) -> set[str]:
    """Return the modules that a new interpreter loads for a script, except those in C."""
    argv = [sys.executable, "-c", script, str(noted), *arguments]
    subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {name for name in noted.read_text().split() if not name.startswith("_")}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the modules that are loaded after importing click and PyYAML for an empty command."""
    return modules(BARE, tmp_path_factory.mktemp("bare") / "modules", [])


@pytest.mark.parametrize("command", CASES)
def test_a_command_loads_no_module_unseen(command: str, bare: set[str], tmp_path: Path) -> None:
    arguments, known = CASES[command]
    found = modules(VMCFG, tmp_path / "modules", [*arguments, "sample-configs/minimal.yaml"]) - bare
    new = sorted(found - known)
    assert not new, (
        f"'vmcfg {command}' now loads {', '.join(new)} at every start: import it in the function"
        " that needs it; if every start needs it, add it to tests/test_imports.py"
    )
    gone = sorted(name for name in known - found if name.startswith("vmcfg"))
    assert not gone, (
        f"'vmcfg {command}' no longer loads {', '.join(gone)}: remove it from tests/test_imports.py"
    )
