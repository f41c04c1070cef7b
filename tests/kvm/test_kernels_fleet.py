"""fleet/ by Ansible over ssh, against three booted kernels with KVM."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kvm import oracle, ssh_hosts
from tests.kvm.ssh_hosts import HOSTS

GICV2 = """\
vmcfg: 1
name: old
vcpus: 1
gic: {version: 2, distributor: 0x08000000, cpu_interface: 0x08010000}
"""
"""A VM that these hosts, which have only a GICv3, cannot take."""

ANSIBLE, PROVISION = re.findall(
    r"(?m)^(?:cd fleet; )?((?:ansible-playbook|sample-configs/provision\.sh) .*)$",
    (oracle.ROOT / "README.md").read_text(),
)
"""The two commands in the README, which are executed here."""

# In one process, in order: a second run is only one after the first.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.xdist_group("hosts")]

Play = Callable[..., tuple[int, dict[str, dict[str, int]], str]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of fleet/."""
    folder = tmp_path_factory.mktemp("f") / "fleet"
    shutil.copytree(oracle.ROOT / "fleet", folder)
    return folder


@pytest.fixture(scope="module")
def sockets() -> Iterator[str]:
    """Return a folder for Ansible's sockets: the path of one has at most 107 bytes, and pytest's
    folders can have paths that are longer than what this leaves.
    """
    with tempfile.TemporaryDirectory(prefix="vmcfg-", dir="/tmp") as folder:
        yield folder


@pytest.fixture
def environment(hosts: dict[str, ssh_hosts.Host], tmp_path: Path, sockets: str) -> dict[str, str]:
    """Return an environment with vmcfg, Ansible, and an ssh that knows the names of the hosts."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    known = "".join(
        f"    {name}) shift; exec /usr/bin/ssh {shlex.join(host.options())} -p {host.port}"
        ' root@127.0.0.1 "$@" ;;\n'
        for name, host in hosts.items()
    )
    programs = {
        "vmcfg": f'exec "{sys.executable}" -m vmcfg "$@"\n',
        "ssh": f'case $1 in\n{known}esac\nexec /usr/bin/ssh "$@"\n',
    }
    for name, body in programs.items():
        (binaries / name).write_text(f"#!/bin/sh\n{body}")
        (binaries / name).chmod(0o755)
    scripts = Path(sys.executable).parent
    return {
        "PATH": f"{binaries}:{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(oracle.ROOT),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
        # Dropbear has no SFTP.
        "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
        "ANSIBLE_TIMEOUT": "60",
    }


@pytest.fixture
def play(
    hosts: dict[str, ssh_hosts.Host], fleet: Path, environment: dict[str, str], tmp_path: Path
) -> Play:
    """Return a function that runs the playbook, with variables of hosts that differ: exit code, the
    recap by host, and the output.
    """

    def play(
        *arguments: str, others: dict[str, dict[str, Any]] | None = None
    ) -> tuple[int, dict[str, dict[str, int]], str]:
        reached = {name: _reached(host) for name, host in hosts.items()}
        for name, variables in (others or {}).items():
            reached[name] |= variables
        addresses = tmp_path / "addresses.yml"
        addresses.write_text(yaml.safe_dump({"kvm": {"hosts": reached}}))
        done = subprocess.run(
            [*shlex.split(ANSIBLE), *arguments],
            cwd=fleet,
            env={**environment, "ANSIBLE_INVENTORY": f"{fleet}/inventory.yml,{addresses}"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=1500,
        )
        assert "PLAY RECAP" in done.stdout, done.stdout + done.stderr
        return done.returncode, _recap(done.stdout), done.stdout + done.stderr

    return play


def _reached(host: ssh_hosts.Host) -> dict[str, Any]:
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": host.port,
        "ansible_ssh_common_args": shlex.join(host.options()),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _recap(output: str) -> dict[str, dict[str, int]]:
    _, _, recap = output.partition("PLAY RECAP")
    return {
        line.split()[0]: {
            word: int(count) for word, count in re.findall(r"([a-z]+)=([0-9]+)", line)
        }
        for line in recap.splitlines()
        if re.match(r"kvm-[0-9] ", line)
    }


def _failed(recap: dict[str, dict[str, int]]) -> set[str]:
    return {name for name, counts in recap.items() if counts["failed"] or counts["unreachable"]}


def _emitted(description: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "vmcfg", "emit", str(description)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(oracle.ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _found(hosts: dict[str, ssh_hosts.Host]) -> dict[str, str]:
    """Return what each host has of vmcfg, with times."""
    return {
        name: host.ssh("ls -l --full-time /etc/vmcfg 2>/dev/null; ls -A /root /tmp").stdout
        for name, host in hosts.items()
    }


def test_check_mode_changes_nothing(
    play: Play, fleet: Path, hosts: dict[str, ssh_hosts.Host]
) -> None:
    before = sorted(fleet.rglob("*"))
    code, recap, output = play("--check", "--limit", "kvm-3")
    assert code == 0, output
    assert set(recap) == {"kvm-3"}
    assert _failed(recap) == set()
    # It tries the VMs, and says that it would put their plans onto the host.
    assert recap["kvm-3"]["changed"] > 0
    assert sorted(fleet.rglob("*")) == before
    assert hosts["kvm-3"].ssh("test -e /etc/vmcfg").returncode == 1


def test_every_host_gets_the_plans_that_its_kvm_accepts(
    play: Play, fleet: Path, hosts: dict[str, ssh_hosts.Host]
) -> None:
    code, recap, output = play()
    assert code == 0, output
    assert _failed(recap) == set()
    for name, series in HOSTS.items():
        oracle.NOTES[series].append(f"fleet/, {name}: {recap[name]}")
        host_file = json.loads((fleet / "hosts" / f"{name}.json").read_text())
        assert host_file["kernel"].startswith(f"{series}.")
    assert "gateway.yaml on Linux 6.1." in output
    assert "builder.yaml on Linux 7.2." in output
    assert hosts["kvm-1"].ssh("cd /etc/vmcfg; ls").stdout.split() == ["gateway.plan"]
    assert hosts["kvm-3"].ssh("cd /etc/vmcfg; ls").stdout.split() == ["builder.plan", "cache.plan"]
    emitted = _emitted(fleet / "vms/build/builder.yaml")
    assert hosts["kvm-3"].ssh("cat /etc/vmcfg/builder.plan").stdout == emitted


def test_a_second_run_changes_nothing(play: Play, hosts: dict[str, ssh_hosts.Host]) -> None:
    before = _found(hosts)
    code, recap, output = play()
    assert code == 0, output
    assert {name: counts["changed"] for name, counts in recap.items()} == dict.fromkeys(HOSTS, 0)
    assert _found(hosts) == before


def test_a_host_that_is_not_reached_or_cannot_take_its_vm_fails_alone(
    play: Play, fleet: Path, hosts: dict[str, ssh_hosts.Host]
) -> None:
    (fleet / "vms/old").mkdir()
    (fleet / "vms/old/old.yaml").write_text(GICV2)
    before = hosts["kvm-3"].ssh("ls /etc/vmcfg").stdout
    others = {"kvm-1": {"ansible_port": 1}, "kvm-3": {"vms_descriptions": "vms/old"}}
    code, recap, output = play(others=others)
    assert code != 0
    assert recap["kvm-1"]["unreachable"] == 1
    assert (recap["kvm-3"]["failed"], recap["kvm-3"]["unreachable"]) == (1, 0)
    assert _failed(recap) == {"kvm-1", "kvm-3"}
    assert recap["kvm-2"]["ok"] > 10
    # The finding, by its place, its rule, and its message.
    (message,) = re.findall(r'fatal: \[kvm-3\]: FAILED! => .*?"msg": "([^"]*)"', output, re.DOTALL)
    assert "vms/old/old.yaml:4:16: error[VMC7" in message
    assert hosts["kvm-3"].ssh("ls /etc/vmcfg").stdout == before


def test_a_vm_that_only_kvm_rejects_fails_with_its_answer(
    play: Play, fleet: Path, tmp_path: Path
) -> None:
    """As if the host file were that of another host: without it, vmcfg cannot know."""
    (fleet / "vms/older").mkdir()
    (fleet / "vms/older/old.yaml").write_text(GICV2)
    unaware = tmp_path / "unaware"
    # Ansible fails if a program ends before it has read its standard input.
    unaware.write_text(
        '#!/bin/sh\nif [ "$1" = validate ]; then cat >/dev/null; exit 0; fi\n'
        f'exec "{sys.executable}" -m vmcfg "$@"\n'
    )
    unaware.chmod(0o755)
    others = {"kvm-3": {"vms_descriptions": "vms/older", "vms_vmcfg": str(unaware)}}
    code, recap, output = play("--limit", "kvm-3", others=others)
    assert (code, recap["kvm-3"]["failed"]) == (2, 1)
    answer = "'create-device gic - KVM_DEV_TYPE_ARM_VGIC_V2 u32 5' fails with ENODEV"
    assert answer in output, output


def test_two_descriptions_with_one_file_name_are_rejected(play: Play, fleet: Path) -> None:
    for folder in ("a", "b"):
        path = fleet / f"vms/twice/{folder}/vm.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"{{vmcfg: 1, name: {folder}, vcpus: 1}}\n")
    others = {"kvm-2": {"vms_descriptions": "vms/twice"}}
    code, recap, output = play("--limit", "kvm-2", others=others)
    assert (code, recap["kvm-2"]["failed"]) == (2, 1)
    assert "two descriptions have one file name: vm.yaml vm.yaml" in output


def test_provision_sh_does_the_same(
    hosts: dict[str, ssh_hosts.Host], fleet: Path, environment: dict[str, str]
) -> None:
    def provision(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", *arguments],
            cwd=oracle.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
        )

    command = shlex.split(PROVISION)
    done = provision(*command)
    assert (done.returncode, done.stdout) == (0, "kvm-1: changed\nkvm-2: changed\n"), done.stderr
    directory = command[1]
    (description,) = (oracle.ROOT / directory).glob("*.yaml")
    expected = f"{_emitted(description)}gateway.plan\n"
    for name in command[2:]:
        there = hosts[name].ssh("cat /etc/vmcfg/plans/gateway.plan; ls /etc/vmcfg/plans")
        assert there.stdout == expected
    assert provision(*command).stdout == "kvm-1: unchanged\nkvm-2: unchanged\n"
    (fleet / "vms/oldest").mkdir()
    (fleet / "vms/oldest/old.yaml").write_text(GICV2)
    done = provision(command[0], str(fleet / "vms/oldest"), "kvm-3")
    assert (done.returncode, done.stdout) == (1, "kvm-3: failed with exit code 1\n")
    assert "vms/oldest/old.yaml:4:16: error[VMC7" in done.stderr
