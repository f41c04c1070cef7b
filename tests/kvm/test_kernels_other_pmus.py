"""Hosts with another PMU than the default of the emulated machine: PMUv3.0 with events of 10 bits,
and no PMU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.kvm import oracle
from tests.kvm.images import tried

BEGINNING = "vmcfg: 1\nname: vm\nvcpus: 2\npmu:\n  irq: 23\n  filter: "
LAST_OF_10_BITS = BEGINNING + "[{action: deny, events: 0x3ff}]\n"
BEYOND_10_BITS = BEGINNING + "[{action: deny, events: 0x400}]\n"
FILTER = oracle.ROOT / "sample-configs/pmu-filter.yaml"


@pytest.mark.parametrize("series", oracle.FULL)
def test_pmuv3_0_has_events_of_10_bits(series: str, tmp_path: Path) -> None:
    last, beyond = tmp_path / "last.yaml", tmp_path / "beyond.yaml"
    last.write_text(LAST_OF_10_BITS)
    beyond.write_text(BEYOND_10_BITS)
    files = [str(path) for path in (FILTER, last, beyond)]
    done = tried(series, "--cpu", "cortex-a72", "--format", "json", *files)
    report: dict[str, Any] = json.loads(done.stdout)
    of_file = {Path(each["file"]).name: each["diagnostics"] for each in report["tries"]}
    assert of_file[FILTER.name] == of_file["last.yaml"] == []
    (found,) = of_file["beyond.yaml"]
    assert done.returncode == 1
    assert (found["rule"], found["pointer"]) == ("VMC901", "/pmu/filter/0")
    assert found["kernel"]["errno"] == "EINVAL"
    assert "with PMUv3.0 10" in found["message"]


def test_a_host_without_a_pmu_is_told_in_a_sentence() -> None:
    done = tried(oracle.FULL[-1], "--cpu", "max,pauth-impdef=on,pmu=off", str(FILTER))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].endswith(
        "this host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)"
    )
