"""try --script over ssh on real kernels, by Python 3.7: the report is that of try on the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import not_here
from tests.kvm import debian, oracle, ssh_hosts

SERIES = ("6.1", "6.12", "7.2")

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=SERIES)
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ssh_hosts.Host]:
    """Return a host that has vmcfg too, for comparison, in its directory /work."""
    files = oracle.package()
    for folder in (EXAMPLES, "sample-configs"):
        for path in (oracle.ROOT / folder).glob("*.yaml"):
            files[f"/work/{path.relative_to(oracle.ROOT)}"] = path.read_bytes()
    kernel = oracle.kernel(request.param)
    try:
        with ssh_hosts.booted(kernel, tmp_path_factory.mktemp("keys"), files) as host:
            yield host
    except debian.NoMachineError as error:
        not_here(f"NO HOST WAS BOOTED: {error}")


def vmcfg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", *arguments],
        capture_output=True,
        text=True,
        cwd=oracle.ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(oracle.ROOT)},
    )


def test_the_script_reports_what_try_reports_on_the_host(host: ssh_hosts.Host) -> None:
    version = host.ssh("python3.7 -V").stdout
    assert version.startswith("Python 3.7.")
    for name, arguments in TRIED.items():
        if name in ON_6_12 and host.kernel.series != "6.12":
            continue
        there = host.ssh(f"cd /work; python3 -m vmcfg try --format json {' '.join(arguments)}")
        script = vmcfg("try", "--script", *arguments)
        # The directory of the host has nothing of vmcfg.
        done = host.ssh("cd /; python3.7 -", script.stdout)
        assert (done.returncode, done.stderr) == (there.returncode, there.stderr), name
        report = json.loads(done.stdout)
        assert report == json.loads(there.stdout), name
        if "tries" in report:
            executed = sum(bool(each.get("commands")) for each in report["tries"])
            oracle.NOTES[host.kernel.series].append(
                f"{name} by --script over ssh: {executed} of {len(report['tries'])} executed"
            )
            assert executed > 0
        else:
            assert report["kernel"].startswith(host.kernel.series + ".")


def test_the_exit_code_passes_through_the_pipe(host: ssh_hosts.Host, tmp_path: Path) -> None:
    codes = {}
    for name, text in DESCRIPTIONS.items():
        path = tmp_path / "vm.yaml"
        path.write_text(text)
        done = host.ssh("python3.7 -", vmcfg("try", "--script", str(path)).stdout)
        codes[name] = done.returncode
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
