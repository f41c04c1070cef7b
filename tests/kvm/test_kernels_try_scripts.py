"""try --script over ssh on real kernels, by Python 3.7: the report is that of try --image, which is
that of try on the host (tests/kvm/test_kernels_boot_images.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvm import oracle, ssh_hosts
from tests.kvm.images import tried

EXAMPLES = "vmcfg/reference/examples"
TRIED = {
    "one description": ["sample-configs/minimal.yaml"],
    "samples": ["sample-configs/full.yaml", "sample-configs/gicv2.yaml", "sample-configs/spi.yaml"],
    "every example": ["--unchecked", EXAMPLES],
    "too new for some": [f"{EXAMPLES}/VMC702-counters.yaml"],
    "not run": ["--no-run", "sample-configs/spi.yaml"],
}
"""Arguments of try."""

ON_6_12 = ("every example",)
"""Those that take long, and are tried on one kernel."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("hosts"),
]

Hosts = dict[str, ssh_hosts.Host]


def vmcfg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", *arguments],
        capture_output=True,
        text=True,
        cwd=oracle.ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(oracle.ROOT)},
    )


@pytest.mark.parametrize("name", ssh_hosts.HOSTS)
def test_the_script_reports_what_try_reports_on_the_host(name: str, hosts: Hosts) -> None:
    host = hosts[name]
    series = host.kernel.series
    version = host.ssh("python3.7 -V").stdout
    assert version.startswith("Python 3.7.")
    for case, arguments in TRIED.items():
        if case in ON_6_12 and series != "6.12":
            continue
        there = tried(series, "--format", "json", *arguments, cwd=oracle.ROOT)
        script = vmcfg("try", "--script", *arguments)
        done = host.ssh("python3.7 -", script.stdout)
        assert (done.returncode, done.stderr) == (there.returncode, there.stderr), case
        report = json.loads(done.stdout)
        assert report == json.loads(there.stdout), case
        if "tries" in report:
            executed = sum(bool(each.get("commands")) for each in report["tries"])
            oracle.NOTES[series].append(
                f"{case} by --script over ssh: {executed} of {len(report['tries'])} executed"
            )
            assert executed > 0
        else:
            assert report["kernel"].startswith(series + ".")


def test_the_exit_code_passes_through_the_pipe(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts["kvm-3"]
    codes = {}
    for case, text in DESCRIPTIONS.items():
        path = tmp_path / "vm.yaml"
        path.write_text(text)
        done = host.ssh("python3.7 -", vmcfg("try", "--script", str(path)).stdout)
        codes[case] = done.returncode
    assert codes == {"right": 0, "wrong": 1, "rejected": 1}
    missing = vmcfg("try", "--script", str(tmp_path / "missing.yaml"))
    done = host.ssh("python3.7 -", missing.stdout)
    assert (missing.returncode, done.returncode, done.stdout) == (3, 3, "")
    assert done.stderr == missing.stderr
    assert "missing.yaml" in done.stderr


DESCRIPTIONS = {
    "right": "{vmcfg: 1, name: vm, vcpus: 2, pmu: {irq: 23}}\n",
    "wrong": "{vmcfg: 1, name: vm, vcpus: 2, pmu: {irq: 27}}\n",
    # vmcfg cannot know without a host file that this host has no GICv2.
    "rejected": "{vmcfg: 1, name: vm, vcpus: 1, gic: {version: 2, distributor: 0x08000000,"
    " cpu_interface: 0x08010000}}\n",
}
