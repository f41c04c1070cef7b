"""vmcfg as a Python library: the same results as the commands, with types for its callers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vmcfg
from tests.processes import run_vmcfg_as_text
from vmcfg import api
from vmcfg.commands.emit import emit
from vmcfg.formats.registry import PLAN_FORMATS

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
HOST = (ROOT / "tests" / "hosts" / "has-everything.json").read_text()

RIGHT = "vmcfg: 1\nname: vm\nvcpus: 2\npmu: {irq: 23}\n"
WARNED = RIGHT.replace("23", "25")
SET_MPIDR = "vmcfg: 1\nname: vm\nvcpus: [{mpidr: 0.0.200.1}]\n"
HOST_PMU = 'vmcfg: 1\nname: vm\nvcpus: 1\npmu: {irq: 23, device: "armv8_pmuv3_0"}\n'


def emitted(path: Path, *options: str) -> str:
    done = run_vmcfg_as_text(["emit", *options, path.name], cwd=path.parent, env={})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in SAMPLES])
def test_a_plan_has_the_texts_of_emit(path: Path) -> None:
    text = path.read_bytes()
    whole = vmcfg.plan(text, path.name)
    assert whole.to_jsonl() == emitted(path, "--format", "jsonl", "--scope", "vm")
    assert json.loads(whole.to_json()) == whole.to_dict()
    settings = vmcfg.plan(text, path.name, scope="attributes")
    assert settings.to_text() == emitted(path)
    assert settings.to_text(comments=True) == emitted(path, "--comments")
    assert [str(command) for command in settings.commands] == settings.to_text().splitlines()
    if "pmu:armv8" not in whole.to_text():
        assert whole.to_c(main=True) == emitted(path, "--format", "c", "--main")
        assert settings.to_sh() == emitted(path, "--format", "sh")
        assert settings.to_text(numbers=True) == emitted(path, "--numbers")


def test_every_format_of_plans_has_a_method() -> None:
    assert {hasattr(vmcfg.Plan, f"to_{name}") for name in PLAN_FORMATS} == {True}


def test_check_and_plan_have_the_options_of_the_commands() -> None:
    options = {option.name for option in emit.params}
    assert {"host_kernel", "host_paths", "strict", "scope"} <= options
    assert [found.rule for found in vmcfg.check(SET_MPIDR)] == ["VMC701"]
    assert vmcfg.check(SET_MPIDR, host_kernel="6.10") == []
    host = vmcfg.read_host(HOST, "host.json")
    assert isinstance(host, vmcfg.Host)
    assert [found.hosts for found in vmcfg.check(RIGHT.replace("2\n", "600\n"))] == [()]
    assert vmcfg.plan(SET_MPIDR, host_kernel="6.10").to_dict()["host_kernel"] == "6.10"


def test_strict_makes_errors_of_warnings() -> None:
    assert [found.severity for found in vmcfg.check(WARNED)] == ["warning"]
    assert [found.severity for found in vmcfg.check(WARNED, strict=True)] == ["error"]
    assert [found.rule for found in vmcfg.plan(WARNED).diagnostics] == ["VMC508"]
    with pytest.raises(vmcfg.InvalidDescription, match="INTID 25") as caught:
        vmcfg.plan(WARNED, strict=True)
    assert [found.rule for found in caught.value.diagnostics] == ["VMC508"]


def test_a_number_that_only_hosts_know_comes_from_them() -> None:
    with pytest.raises(vmcfg.InvalidDescription, match="only the host knows"):
        vmcfg.plan(HOST_PMU).to_text(numbers=True)
    for written in (vmcfg.plan(HOST_PMU).to_sh, vmcfg.plan(HOST_PMU).to_c):
        with pytest.raises(vmcfg.InvalidDescription, match="only the host knows") as caught:
            written()
        assert [found.rule for found in caught.value.diagnostics] == ["VMC705"]
    assert "s32 pmu:armv8_pmuv3_0\n" in vmcfg.plan(HOST_PMU).to_text()
    with pytest.raises(ValueError, match='main requires a plan with scope "vm"'):
        vmcfg.plan(RIGHT, scope="attributes").to_c(main=True)
    host = vmcfg.read_host(HOST)
    device = json.loads(HOST)["pmus"][0]
    text = HOST_PMU.replace("armv8_pmuv3_0", device["name"])
    commands = vmcfg.plan(text, hosts=[host]).commands
    assert str(device["type"]) in {each.value for each in commands if "SET_PMU" in each.attr}


def test_a_command_has_its_vcpu_its_bytes_and_its_origin() -> None:
    command = next(each for each in vmcfg.plan(RIGHT).commands if each.attr.endswith("_V3_IRQ"))
    assert command.mpidr == "0.0.0.0"
    assert command.phase == "configure"
    assert command.data == (23).to_bytes(4, "little")
    assert command.origin == vmcfg.Origin("/pmu/irq", 4, 12)


@pytest.mark.parametrize("version", ["6", "5.10", "six"])
def test_a_wrong_version_is_a_value_error(version: str) -> None:
    with pytest.raises(ValueError) as caught:
        vmcfg.check(RIGHT, host_kernel=version)
    assert re.search(r"write two numbers|6\.1 or later", str(caught.value))


def test_what_is_not_a_host_file_is_a_value_error() -> None:
    with pytest.raises(ValueError) as caught:
        vmcfg.read_host("{}")
    assert "is not a host file" in str(caught.value)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError) as caught:
        vmcfg.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert "no attribute 'nothing'" in str(caught.value)


def test_every_name_of_the_library_is_documented() -> None:
    assert vmcfg.__all__ == api.__all__
    for name in vmcfg.__all__:
        assert getattr(vmcfg, name).__doc__, name
