"""The samples: they are valid, their plans are stored, and VMMs send the same to KVM."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from vmcfg import cli
from vmcfg.checking.check import check
from vmcfg.description.model import every_field

HERE = Path(__file__).parent
FOLDER = HERE.parent / "sample-configs"
GOLDEN = HERE / "golden"
SAMPLES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

FORMATS = {
    "txt": (),
    "numbers.txt": ("--numbers",),
    "comments.txt": ("--comments",),
    "json": ("--format", "json"),
    "jsonl": ("--format", "jsonl"),
    "vm.txt": ("--scope", "vm"),
    "vm.jsonl": ("--scope", "vm", "--format", "jsonl"),
}
IN_EVERY_FORMAT = ("full", "qemu-virt")
"""The samples that are stored in every format. The others differ only in their values."""

MANY = 64
"""Samples with more vCPUs are stored only as text: other formats would only add lines."""

Vmcfg = Callable[..., "tuple[int, str]"]


@pytest.fixture
def vmcfg(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Vmcfg:
    """Return a function that runs vmcfg in sample-configs: the exit code, and the output."""
    monkeypatch.chdir(FOLDER)

    def run(*arguments: str) -> tuple[int, str]:
        code = cli.vmcfg.main(list(arguments), prog_name="vmcfg", standalone_mode=False)
        output, errors = capsysbinary.readouterr()
        assert (errors == b"") == (not code)
        return code or 0, output.decode()

    return run


def commands(output: str) -> list[dict[str, Any]]:
    """Return the commands of a plan in JSON Lines, without its header and end."""
    lines = [json.loads(line) for line in output.splitlines()]
    assert (lines[0]["op"], lines[-1]) == ("plan", {"op": "end", "count": len(lines) - 2})
    return lines[1:-1]


def vcpu_count(sample: str) -> int:
    machine = check((FOLDER / f"{sample}.yaml").read_bytes(), sample).machine
    assert machine is not None
    return len(machine.vcpus)


# What a sample is ---------------------------------------------------------------------------------


def test_no_sample_has_a_finding(vmcfg: Vmcfg) -> None:
    assert vmcfg("validate", "--strict", ".") == (0, "")


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_opens_with_what_it_shows_and_when_to_use_it(sample: str) -> None:
    data = (FOLDER / f"{sample}.yaml").read_bytes()
    assert data.isascii(), (
        "samples are printed unchanged, regardless of the encoding of the terminal"
    )
    first, second, third = data.decode().splitlines()[:3]
    assert first.startswith("# ")
    assert second.startswith("# Use it ")
    assert third.split("#")[0].strip() == "vmcfg: 1"
    assert max(len(line) for line in data.decode().splitlines()) <= 120


def test_full_has_every_key_but_the_gicv2s_and_el2s() -> None:
    def keys(node: Any, prefix: str) -> set[str]:
        if isinstance(node, list):
            return set().union(*(keys(each, prefix) for each in node))
        if not isinstance(node, dict):
            return set()
        found = {prefix + key for key in node if not key.startswith("x-")}
        return found.union(*(keys(value, f"{prefix}{key}.") for key, value in node.items()))

    written = keys(yaml.safe_load((FOLDER / "full.yaml").read_bytes()), "")
    assert written == set(every_field()) - {"gic.cpu_interface", "gic.maintenance_irq"}


# The plans of samples -----------------------------------------------------------------------------


UNKNOWN_HERE = {("full", "numbers.txt"), ("strict-pmu", "numbers.txt")}
"""The number of a host PMU differs between hosts: there is no such plan (VMC705)."""


def kept(sample: str) -> tuple[str, ...]:
    """Return the formats in which the plan of a sample is stored in tests/golden."""
    if vcpu_count(sample) > MANY:
        return ("txt",)
    if sample in IN_EVERY_FORMAT:
        return tuple(what for what in FORMATS if (sample, what) not in UNKNOWN_HERE)
    return ("vm.txt", "vm.jsonl")


GOLDENS = [(sample, what) for sample in SAMPLES for what in kept(sample)]


@pytest.mark.parametrize(("sample", "what"), GOLDENS)
def test_plan_is_the_golden_one(
    sample: str, what: str, vmcfg: Vmcfg, same_as_file: Callable[[Path, bytes], None]
) -> None:
    code, output = vmcfg("emit", f"{sample}.yaml", *FORMATS[what])
    assert code == 0
    same_as_file(GOLDEN / f"{sample}.{what}", output.encode())


def test_no_golden_without_a_sample() -> None:
    left = {path.name for path in GOLDEN.iterdir()} - {".".join(each) for each in GOLDENS}
    assert not left, f"no test compares these with anything: remove {sorted(left)} in tests/golden"


@pytest.mark.parametrize(("sample", "what"), sorted(UNKNOWN_HERE))
def test_a_plan_that_needs_the_host_is_not_written(sample: str, what: str, vmcfg: Vmcfg) -> None:
    assert vmcfg("emit", f"{sample}.yaml", *FORMATS[what]) == (1, "")


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_format_says_the_same(sample: str, vmcfg: Vmcfg) -> None:
    """The stored formats of a sample determine all its other formats."""
    whole = commands(vmcfg("emit", f"{sample}.yaml", *FORMATS["vm.jsonl"])[1])
    words = ("op", "target", "group", "attr", "type", "value")
    lines = [" ".join(command[word] for word in words) for command in whole]
    assert vmcfg("emit", f"{sample}.yaml", *FORMATS["vm.txt"])[1].splitlines() == lines

    attributes = [each for each in whole if sets_value(each["op"], each["attr"])]
    numbered = [{**each, "seq": seq} for seq, each in enumerate(attributes, 1)]
    output = vmcfg("emit", f"{sample}.yaml", *FORMATS["jsonl"])[1]
    assert commands(output) == numbered

    header = json.loads(output.splitlines()[0])
    del header["op"]
    document = json.loads(vmcfg("emit", f"{sample}.yaml", *FORMATS["json"])[1])
    assert document == {**header, "commands": numbered}

    commented = vmcfg("emit", f"{sample}.yaml", *FORMATS["comments.txt"])[1].splitlines()
    text = vmcfg("emit", f"{sample}.yaml")[1].splitlines()
    assert [line for line in commented if not line.startswith("#")] == text

    if (sample, "numbers.txt") not in UNKNOWN_HERE:
        numbers = vmcfg("emit", f"{sample}.yaml", *FORMATS["numbers.txt"])[1].splitlines()
        assert numbers == [in_numbers(command) for command in attributes]


def sets_value(op: str, attr: str) -> bool:
    """Return whether a command is in the scope `attributes`."""
    return op in ("set-attr", "set-reg") and attr != "KVM_REG_ARM64_SVE_VLS"


def in_numbers(command: dict[str, Any]) -> str:
    """Return a command as `--numbers` prints it: OP TARGET GROUP ATTR LENGTH DATA."""
    data = command.get("data", "")
    group = command.get("group_id", 0)
    attr = command.get("attr_id", command.get("reg_id"))
    return f"{command['op']} {command['target']} {group} {attr} {len(data) // 2} {data or '-'}"


@pytest.mark.parametrize("sample", SAMPLES)
def test_origins_are_where_the_yaml_library_finds_them(sample: str, vmcfg: Vmcfg) -> None:
    text = (FOLDER / f"{sample}.yaml").read_text()
    root = yaml.compose(text)
    _, output = vmcfg("emit", f"{sample}.yaml", "--scope", "vm", "--format", "jsonl")
    for command in commands(output):
        placed = ("set-attr", "set-reg", "add-memory", "enable-cap")
        assert ("origin" in command) == (command["op"] in placed), command
        if "origin" in command:
            origin = command["origin"]
            mark = _at(root, origin["pointer"]).start_mark
            assert (origin["line"], origin["column"]) == (mark.line + 1, mark.column + 1), command


def _at(node: yaml.Node | None, pointer: str) -> yaml.Node:
    """Return the node at an RFC 6901 pointer, found by the composer of PyYAML, not of vmcfg."""
    assert node is not None
    for step in pointer.split("/")[1:]:
        if isinstance(node, yaml.SequenceNode):
            node = node.value[int(step)]
        else:
            node = next(value for key, value in node.value if key.value == step)
        assert isinstance(node, yaml.Node)
    return node


@pytest.mark.parametrize("sample", SAMPLES)
def test_phases_and_scopes_are_parts_of_the_whole_plan(sample: str, vmcfg: Vmcfg) -> None:
    whole = vmcfg("emit", f"{sample}.yaml", "--scope", "vm")[1]
    attributes = [
        line for line in whole.splitlines() if sets_value(line.split()[0], line.split()[3])
    ]
    assert vmcfg("emit", f"{sample}.yaml")[1].splitlines() == attributes
    phases = ("create", "configure", "gic-init", "pmu-init", "late")
    assert (
        "".join(
            vmcfg("emit", f"{sample}.yaml", "--scope", "vm", "--phase", phase)[1]
            for phase in phases
        )
        == whole
    )


# The example of the format ------------------------------------------------------------------------

EXAMPLE = HERE / "plans" / "documented-example.yaml"


def test_the_example_of_the_plan_format_is_reproduced_byte_for_byte(vmcfg: Vmcfg) -> None:
    code, output = vmcfg("emit", str(EXAMPLE), "--scope", "vm", "--format", "jsonl")
    emitted = output.splitlines()
    shown = (HERE / "plans" / "documented-example.jsonl").read_text().splitlines()
    assert code == 0
    assert len(shown) == 8
    for line in shown:
        parsed = json.loads(line)
        place = {"plan": 0, "end": -1}.get(parsed["op"], parsed.get("seq"))
        assert emitted[place] == line
    assert len(emitted) == json.loads(shown[-1])["count"] + 2
    assert output.endswith("\n")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("set-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23", ()),
        ("set-attr gic KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT none -", ()),
        ("set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 256", ()),
        ("set-attr vcpu:0 0 0x0 4 17000000", ("--numbers",)),
        ("set-attr gic 4 0x0 0 -", ("--numbers",)),
        ("set-reg vcpu:1 0 0x603000000013c005 8 01c8008000000000", ("--numbers",)),
        ("create-vm vm - - u64 0x28", ("--scope", "vm")),
        ("create-vcpu vcpu:1 - - u64 0x1", ("--scope", "vm")),
        ("create-device gic - KVM_DEV_TYPE_ARM_VGIC_V3 u32 7", ("--scope", "vm")),
        ("init-vcpu vcpu:1 - - features POWER_OFF,PSCI_0_2,PMU_V3", ("--scope", "vm")),
        ("set-reg vcpu:1 - MPIDR_EL1 u64 0x8000c801", ("--scope", "vm")),
    ],
)
def test_the_example_has_the_lines_that_the_text_format_is_shown_by(
    line: str, options: tuple[str, ...], vmcfg: Vmcfg
) -> None:
    assert line in vmcfg("emit", str(EXAMPLE), *options)[1].splitlines()


def test_a_memory_slot_as_the_text_format_shows_it(vmcfg: Vmcfg) -> None:
    line = "add-memory vm - - memory slot=0,base=0x40000000,size=0x40000000"
    assert line in vmcfg("emit", "qemu-virt.yaml", "--scope", "vm")[1].splitlines()


# What VMMs send to KVM ----------------------------------------------------------------------------


TRACES = sorted((HERE / "traces").glob("*.trace"))
"""The calls of each VMM for the command line in the first line, by the name of the sample.

A line is an ioctl and its arguments; a GROUP.ATTR of KVM_SET_DEVICE_ATTR has its value, or "-" if
its addr is not used. Calls of one kind are in the order of the VMM, one kind after another. A
comment at the end of a call is the reason why a description cannot express it: plans do not contain
the call.
"""


class Set(NamedTuple):
    """One KVM_SET_DEVICE_ATTR: its target, group.attr, and the value; None if addr is not used."""

    target: str
    attr: str
    value: int | None
    beyond: str = ""


class Vmm(NamedTuple):
    """The calls of one VMM. `vm_type` is None if it depends on the host."""

    sample: str
    vm_type: int | None
    features: list[int]
    """The first word of KVM_ARM_VCPU_INIT of each vCPU."""
    memory: list[int]
    stopped: list[str]
    """The vCPUs that KVM_SET_MP_STATE stops, instead of the feature POWER_OFF."""
    sets: list[Set]

    @property
    def steal_time(self) -> list[int]:
        """Return the base of the memory slot for steal time, if there is one."""
        bases = [each.value for each in self.sets if each.attr == "2.0" and each.value is not None]
        return bases[:1]


def vmm_of(path: Path) -> Vmm:
    """Return the calls in a trace."""
    found = Vmm(path.stem, None, [], [], [], [])
    for number, line in enumerate(path.read_text().splitlines(), 1):
        call, _, comment = line.partition("#")
        match call.split():
            case []:
                pass
            case ["KVM_CREATE_VM", "?"]:
                pass
            case ["KVM_CREATE_VM", vm_type]:
                found = found._replace(vm_type=int(vm_type, 0))
            case ["KVM_SET_USER_MEMORY_REGION", base]:
                found.memory.append(int(base, 0))
            case ["KVM_ARM_VCPU_INIT", _, word]:
                found.features.append(int(word, 0))
            case ["KVM_SET_MP_STATE", target, "KVM_MP_STATE_STOPPED"]:
                found.stopped.append(target)
            case ["KVM_SET_DEVICE_ATTR", target, attr, value]:
                number_or_none = None if value == "-" else int(value, 0)
                found.sets.append(Set(target, attr, number_or_none, comment.strip()))
            case _:
                pytest.fail(f"{path.name}:{number}: write an ioctl and its arguments, not {line!r}")
    return found


POWER_OFF = 1
SVE = 1 << 4

VMMS = [vmm_of(path) for path in TRACES]


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_a_trace_says_first_whose_it_is(trace: Path) -> None:
    first = trace.read_text().partition("\n")[0]
    assert re.fullmatch(r"# \S.*; (traced|read in its source)( on Linux .*)?\.", first), (
        f"tests/traces/{trace.name}: begin with '# PROGRAM VERSION, OPTIONS; traced on Linux 6.1.'"
    )
    assert trace.stem in SAMPLES, (
        f"tests/traces/{trace.name} is compared with sample-configs/{trace.stem}.yaml: write that"
    )


@pytest.mark.parametrize("vmm", VMMS, ids=lambda vmm: vmm.sample)
def test_plan_sets_what_the_vmm_sets(vmm: Vmm, vmcfg: Vmcfg) -> None:
    """The order is ignored: VMMs disagree about every pair that KVM accepts in any order."""
    _, output = vmcfg("emit", f"{vmm.sample}.yaml", "--scope", "vm", "--format", "jsonl")
    ours = Counter(_set_of(command) for command in commands(output) if command["op"] == "set-attr")
    theirs = Counter(call for call in vmm.sets if not call.beyond)
    difference = "\n".join(
        unified_diff(_listed(theirs), _listed(ours), vmm.sample, "vmcfg", n=0, lineterm="")
    )
    assert not difference, (
        f"sample-configs/{vmm.sample}.yaml and tests/traces/{vmm.sample}.trace differ;"
        f" correct the one that is wrong:\n{difference}"
    )


def _set_of(command: dict[str, Any]) -> Set:
    value = int.from_bytes(bytes.fromhex(command["data"]), "little") if "data" in command else None
    return Set(command["target"], f"{command['group_id']}.{int(command['attr_id'], 16)}", value)


def _listed(sets: Counter[Set]) -> list[str]:
    return sorted(f"{target} {attr} {value}" for target, attr, value, _ in sets.elements())


@pytest.mark.parametrize("vmm", VMMS, ids=lambda vmm: vmm.sample)
def test_plan_creates_what_the_vmm_creates(vmm: Vmm, vmcfg: Vmcfg) -> None:
    _, output = vmcfg("emit", f"{vmm.sample}.yaml", "--scope", "vm", "--format", "jsonl")
    made: dict[str, list[dict[str, Any]]] = {}
    for command in commands(output):
        made.setdefault(command["op"], []).append(command)
    expected = {"create-vm", "add-memory", "create-vcpu", "create-device", "init-vcpu", "set-attr"}
    assert set(made) - {"finalize-vcpu"} == expected
    assert ("finalize-vcpu" in made) == bool(vmm.features[0] & SVE)
    if vmm.vm_type is not None:
        assert [int(each["arg"], 16) for each in made["create-vm"]] == [vmm.vm_type]
    assert [int(each["base"], 16) for each in made["add-memory"]] == [
        *vmm.memory,
        *vmm.steal_time,
    ]
    assert [int(each["arg"], 16) for each in made["create-vcpu"]] == list(range(len(vmm.features)))
    itses = {each.target for each in vmm.sets if each.target.startswith("its:")}
    assert [each["device_id"] for each in made["create-device"]] == [7, *[8] * len(itses)]
    words = [int(each["feature_words"][0], 16) for each in made["init-vcpu"]]
    if vmm.stopped:
        assert vmm.stopped == [f"vcpu:{vcpu}" for vcpu in range(1, len(words))]
        assert [word & POWER_OFF for word in words] == [0] + [1] * (len(words) - 1)
        words = [word & ~POWER_OFF for word in words]
    assert words == vmm.features


# vmcfg example ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES)
def test_example_prints_a_sample_byte_for_byte(sample: str, vmcfg: Vmcfg) -> None:
    assert vmcfg("example", sample) == (0, (FOLDER / f"{sample}.yaml").read_bytes().decode())


def test_example_lists_the_samples_with_what_each_shows(vmcfg: Vmcfg) -> None:
    code, output = vmcfg("example")
    listed = dict(line.split(maxsplit=1) for line in output.splitlines())
    shown = {sample: (FOLDER / f"{sample}.yaml").read_text().splitlines()[0] for sample in SAMPLES}
    assert code == 0
    assert {name: f"# {what}" for name, what in listed.items()} == shown
    assert next(iter(listed)) == "minimal"


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("minimla", "If you mean 'minimal', write that"),
        ("qemu", "If you mean 'qemu-virt', write that"),
        ("Full", "If you mean 'full', write that"),
        ("gicv2.yaml", "If you mean 'gicv2', write that"),
        ("zzz", "Samples: minimal, anchors, "),
        ("../pyproject", "Samples: minimal, anchors, "),
        ("", "Samples: minimal, anchors, "),
    ],
)
def test_example_names_the_likely_sample(name: str, likely: str, vmcfg: Vmcfg) -> None:
    with pytest.raises(click.UsageError, match="No such sample") as raised:
        vmcfg("example", name)
    assert likely in raised.value.message
