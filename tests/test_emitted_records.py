"""What QEMU told real kernels, started with emitted command lines: no difference from descriptions.

tests/qemu/records has a record for each description, from one QEMU and one kernel;
tests/kvm/test_kernels_run_qemu.py records them again, from others too.
"""

from __future__ import annotations

import json
import lzma
import shlex
from pathlib import Path

import pytest

from vmcfg.checking.check import check
from vmcfg.monitors.comparison import compared, machine_side, record_side
from vmcfg.monitors.qemu_command_line import command_line
from vmcfg.monitors.record_file import read_record

FOLDER = Path(__file__).parent / "qemu"
RECORDS = sorted((FOLDER / "records").glob("*.jsonl.xz"))


def described(record: Path) -> Path:
    return FOLDER / f"{record.name.partition('-qemu-')[0]}.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name.partition(".")[0])
def test_a_record_has_no_difference_from_its_description(path: Path) -> None:
    lines = lzma.decompress(path.read_bytes()).splitlines(keepends=True)
    machine = check(described(path).read_bytes(), path.name).machine
    assert machine is not None
    # It is the record of the command line that is emitted now.
    words = " ".join(json.loads(lines[0])["command"])
    assert shlex.join(shlex.split(command_line(machine))[1:]) in words
    record = read_record(lines, path.name)
    assert compared(machine_side(machine), record_side(record)) == []


def test_most_descriptions_have_a_record() -> None:
    assert len({described(path) for path in RECORDS}) >= 24
    assert [path for path in RECORDS if not described(path).exists()] == []
