"""What `validate` and `emit` load beyond click and PyYAML: every module is time at each start, so none comes unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CHECKING = {
    "vmcfg",
    "vmcfg.checking",
    "vmcfg.cli",
    "vmcfg.commands",
    "vmcfg.decode",
    "vmcfg.files",
    "vmcfg.kvm",
    "vmcfg.machine",
    "vmcfg.model",
    "vmcfg.places",
    "vmcfg.report",
    "vmcfg.rules",
    "vmcfg.rules.api",
    "vmcfg.rules.gic",
    "vmcfg.rules.host",
    "vmcfg.rules.kernel",
    "vmcfg.rules.memory",
    "vmcfg.rules.pmu",
    "vmcfg.rules.timers",
    "vmcfg.rules.vcpus",
    "vmcfg.scalars",
    "vmcfg.sequence",
    "vmcfg.tree",
    "gc",
    "signal",
}
"""What both need: the stages from text to findings."""
VALIDATE = {"vmcfg.commands.validate", "vmcfg.parallel", "vmcfg.reports"}
EMIT = {"vmcfg.commands.emit", "vmcfg.formats", "vmcfg.lowering"}
JSON = {"json", "json.decoder", "json.encoder", "json.scanner", "vmcfg.formats.lines"}

CASES = {
    "validate": (["validate"], CHECKING | VALIDATE),
    "emit": (["emit"], CHECKING | EMIT | {"vmcfg.formats.text"}),
    "emit --format jsonl": (["emit", "--format", "jsonl"], CHECKING | EMIT | JSON),
}

NOTED = """
import atexit, sys
noted = sys.argv.pop(1)
atexit.register(lambda: open(noted, "w").write(" ".join(sys.modules)))
"""
BARE = NOTED + "import click, yaml; click.Command('bare').main([], standalone_mode=False)"
VMCFG = NOTED + "import vmcfg.cli; vmcfg.cli.main()"


def modules(script: str, noted: Path, arguments: list[str]) -> set[str]:
    """What a fresh interpreter has loaded when a script ends; not the modules in C that those in Python bring along."""
    argv = [sys.executable, "-c", script, str(noted), *arguments]
    subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return {name for name in noted.read_text().split() if not name.startswith("_")}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What there is with click and PyYAML imported, and an empty command run."""
    return modules(BARE, tmp_path_factory.mktemp("bare") / "modules", [])


@pytest.mark.parametrize("arguments, known", CASES.values(), ids=CASES)
def test_a_command_loads_no_module_unseen(
    arguments: list[str], known: set[str], bare: set[str], tmp_path: Path
) -> None:
    found = modules(VMCFG, tmp_path / "modules", [*arguments, "sample-configs/minimal.yaml"]) - bare
    new = sorted(found - known)
    gone = sorted(name for name in known - found if name.startswith("vmcfg"))
    assert not new, (
        f"{len(new)} more modules than the {len(known)} known are loaded at every start: {', '.join(new)}"
    )
    assert not gone, f"no longer loaded, so to be removed from the list: {', '.join(gone)}"
