"""An installation from a checkout is complete, and works with the oldest supported libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FLOORS = [
    "click==8.1.3",
    "rich==13.3.1",
    "PyYAML==6.0" if sys.version_info < (3, 12) else "PyYAML==6.0.1",
]
"""The versions of Debian 12; PyYAML 6.0 cannot be built for Python 3.12 and later."""


def run(*command: str | Path, cwd: Path) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=300
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, cwd=folder
    )
    return next(folder.glob("vmcfg-*.whl"))


def test_the_wheel_holds_schemas_samples_and_examples(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (
        ("schemas", "schemas"),
        ("sample-configs", "sample-configs"),
        ("vmcfg/reference/examples", "reference/examples"),
    ):
        for path in (ROOT / folder).iterdir():
            assert f"vmcfg/{inside}/{path.name}" in names
    assert "vmcfg/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "vmcfg/tests/"))]
    shared = [path for path in (ROOT / "vmcfg/shell/share").rglob("*") if path.is_file()]
    assert len(shared) >= 10
    for path in shared:
        assert any(
            name.endswith(f".data/data/share/{path.relative_to(ROOT / 'vmcfg/shell/share')}")
            for name in names
        )


def test_the_oldest_libraries_do(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    vmcfg = tmp_path / "venv" / "bin" / "vmcfg"
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--only-binary=:all:",
        *FLOORS,
        wheel,
        cwd=tmp_path,
    )
    sample = ROOT / "sample-configs" / "minimal.yaml"
    plan = run(vmcfg, "emit", sample, cwd=tmp_path)
    assert plan == run(sys.executable, "-m", "vmcfg", "emit", sample, cwd=ROOT)
    assert run(vmcfg, "example", "minimal", cwd=tmp_path) == sample.read_text()
    assert "For example:" in run(vmcfg, "explain", "VMC503", cwd=tmp_path)
    assert (
        run(vmcfg, "schema", cwd=tmp_path) == (ROOT / "schemas" / "vm-v1.schema.json").read_text()
    )
    case = ROOT / "tests" / "cases" / "VMC503-spi-twice.yaml"
    for options in ([], ["--color", "always"], ["--format", "json"], ["--format", "concise"]):
        command = ["validate", *options, case.name]
        old = subprocess.run(
            [vmcfg, *command], cwd=case.parent, capture_output=True, timeout=60, check=False
        )
        new = subprocess.run(
            [sys.executable, "-m", "vmcfg", *command],
            cwd=case.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (old.returncode, old.stdout, old.stderr) == (new.returncode, new.stdout, new.stderr)
        assert old.returncode == 1
    for command in (
        [],
        ["--help"],
        ["emit", "--help"],
        ["validate"],
        ["emit", "--host-kernel", "5.4", str(sample)],
    ):
        done = subprocess.run(
            [vmcfg, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == (0 if "--help" in command else 2)
        assert "Traceback" not in done.stderr
