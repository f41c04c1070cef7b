"""emit --api and --get: every interface sets the same interrupts, each in its own form."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.processes import run_vmcfg_as_text
from vmcfg.checking.check import check
from vmcfg.formats.json_lines import json_object, jsonl
from vmcfg.formats.text import text
from vmcfg.kernel.abi import GET_DEVICE_ATTR, GET_ONE_REG, SET_DEVICE_ATTR, SET_ONE_REG
from vmcfg.plans.apis import APIS, PMU_DEVICE, PMU_DEVICE_MPIDR, VCPU, Api
from vmcfg.plans.lowering import lower
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.plans.reading_back import read_back, reads
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.rules.apis import unsupported
from vmcfg.trial import perform

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
EXAMPLE = Path(__file__).parent / "plans" / "documented-example.yaml"

SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "plan-v1.schema.json").read_text()))

Json = dict[str, Any]
Emit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def emit(tmp_path: Path) -> Emit:
    """Return a function that runs emit on the text of a description."""

    def run(description: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "vm.yaml").write_text(description)
        return run_vmcfg_as_text(["emit", "vm.yaml", *options], cwd=tmp_path, env={"PATH": ""})

    return run


def commands(lines: str) -> list[Json]:
    return [json.loads(line) for line in lines.splitlines()[1:-1]]


# The same interrupts ------------------------------------------------------------------------------

affinities = st.tuples(
    st.integers(0, 3),
    st.integers(0, 255),
    st.sampled_from([0, 1, 15, 16, 31, 255]),
    st.integers(0, 255),
)


@st.composite
def machines(draw: st.DrawFn) -> str:
    """Draw descriptions with any MPIDRs, most of which a GICv3 guest could not reach: identifiers
    must be correct for these, too.
    """
    mpidrs = draw(st.lists(affinities, min_size=1, max_size=12, unique=True))
    spis = draw(st.booleans())
    policy = draw(st.sampled_from(["derived", "sequential"]))
    vcpus = "\n".join(
        f"  - {{mpidr: {'.'.join(map(str, mpidr))}, pmu_irq: {32 + 7 * place if spis else 23}}}"
        for place, mpidr in enumerate(mpidrs)
    )
    return f'vmcfg: 1\nname: vm\nhost_kernel: "6.10"\nvcpu_ids: {policy}\nvcpus:\n{vcpus}\n'


def interrupts(lines: list[Json], api: str) -> dict[str, int]:
    """Return the PMU interrupt of each vCPU by its MPIDR, only from the bytes that KVM would read.

    The index of a vCPU is its position among the create-vcpu commands. Its MPIDR comes from its id,
    or from its register.
    """
    created = [int(line["arg"], 16) for line in lines if line["op"] == "create-vcpu"]
    mpidrs = {vcpu: (vcpu & 15) | (vcpu >> 4) << 8 for vcpu in created}
    for line in lines:
        if line["op"] == "set-reg" and line["attr"] == "MPIDR_EL1":
            register = int.from_bytes(bytes.fromhex(line["data"]), "little")
            mpidrs[int(line["target"].removeprefix("vcpu:"))] = (
                register >> 32 << 24 | register & 0xFFFFFF
            )
    vcpus = {mpidr: vcpu for vcpu, mpidr in mpidrs.items()}
    found = {}
    for line in lines:
        # The group is 0 in both APIs, and in the merged API, the interrupt is attribute 0.
        if line["op"] != "set-attr" or line["group_id"] != 0 or line["type"] != "s32":
            continue
        attr = int(line["attr_id"], 16)
        if api == VCPU:
            if attr != 0:
                continue
            vcpu = int(line["target"].removeprefix("vcpu:"))
        elif api == PMU_DEVICE:
            assert line["target"] == "pmu"
            assert attr >> 32 == 0
            vcpu = created[attr]
        else:
            assert line["target"] == "pmu"
            assert attr & 0xFFFFFFFF == 0
            vcpu = vcpus[attr >> 32]
        mpidr = ".".join(map(str, mpidrs[vcpu].to_bytes(4, "big")))
        assert line["mpidr"] == mpidr
        assert mpidr not in found
        found[mpidr] = int.from_bytes(bytes.fromhex(line["data"]), "little")
    return found


@given(machines())
def test_every_api_says_the_same_of_every_vcpu(description: str) -> None:
    checked = check(description.encode(), "vm.yaml")
    machine = checked.machine
    assert machine is not None
    expected = {vcpu.name: vcpu.pmu_irq for vcpu in machine.vcpus}
    for api in APIS:
        plan = lower(machine, WHOLE_VM, api=api)
        assert interrupts(commands(jsonl(plan, checked.tree)), api) == expected, api


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_say_the_same_under_every_api(sample: Path) -> None:
    """All other commands are the same, in the same order."""
    checked = check(sample.read_bytes(), sample.name)
    machine = checked.machine
    assert machine is not None
    pmus = {row.name for row in SEQUENCE if row.apis != APIS}
    plans = {api: lower(machine, WHOLE_VM, api=api) for api in APIS}
    related = {
        api: interrupts(commands(jsonl(plan, checked.tree)), api) for api, plan in plans.items()
    }
    assert related[VCPU] == related[PMU_DEVICE] == related[PMU_DEVICE_MPIDR]
    assert len(related[VCPU]) == sum(vcpu.pmu_irq is not None for vcpu in machine.vcpus)
    rest = {
        api: [each for each in plan.commands if each.row.name not in pmus]
        for api, plan in plans.items()
    }
    assert rest[VCPU] == rest[PMU_DEVICE] == rest[PMU_DEVICE_MPIDR]


# The forms of each interface ----------------------------------------------------------------------


def test_the_device_is_made_and_told_by_index_or_by_mpidr(emit: Emit) -> None:
    for api, second in ((PMU_DEVICE, "0x1"), (PMU_DEVICE_MPIDR, "0xc80100000000")):
        done = emit(EXAMPLE.read_text(), "--api", api, "--scope", "vm")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert [line for line in lines if "PMU" in line and not line.startswith("init-vcpu")] == [
            "create-device pmu - KVM_DEV_TYPE_ARM_PMU_V3 u32 -",
            "set-attr pmu KVM_DEV_ARM_PMU_GRP_IRQ 0x0 s32 23",
            f"set-attr pmu KVM_DEV_ARM_PMU_GRP_IRQ {second} s32 23",
        ]
        assert emit(EXAMPLE.read_text(), "--api", api, "--phase", "pmu-init").stdout == ""
        numbers = emit(EXAMPLE.read_text(), "--api", api, "--numbers").stdout
        assert f"set-attr pmu 0 {second} 4 17000000\n" in numbers


def test_json_says_what_the_api_is_and_that_it_was_never_merged(emit: Emit) -> None:
    for api in (PMU_DEVICE, PMU_DEVICE_MPIDR):
        done = emit(EXAMPLE.read_text(), "--api", api, "--scope", "vm", "--format", "jsonl")
        header = json.loads(done.stdout.splitlines()[0])
        assert (header["api"], header["merged"]) == (api, False)
        assert "never merged" in header["note"]
        assert "8, which was the next free number, is the ITS today" in header["note"]
        (made,) = [
            line
            for line in commands(done.stdout)
            if line["op"] == "create-device" and line["target"] == "pmu"
        ]
        assert (made["value"], made["device_id"]) == ("-", None)
        told = [
            line
            for line in commands(done.stdout)
            if line["target"] == "pmu" and line["op"] == "set-attr"
        ]
        assert [line["mpidr"] for line in told] == ["0.0.0.0", "0.0.200.1"]
        assert {"origin" in line for line in told} == {True}
    header = json.loads(emit(EXAMPLE.read_text(), "--format", "jsonl").stdout.splitlines()[0])
    assert "merged" not in header
    assert "note" not in header


def test_comments_say_what_the_api_is(emit: Emit) -> None:
    said = {api: emit(EXAMPLE.read_text(), "--api", api, "--comments").stdout for api in APIS}
    assert "the merged API, in Linux since 4.6" in said[VCPU]
    assert "never merged" not in said[VCPU]
    assert "Bits [31:0] of the attribute number are the vCPU index" in said[PMU_DEVICE]
    assert (
        "Bits [63:32] of the attribute number are the MPIDR of the vCPU" in said[PMU_DEVICE_MPIDR]
    )
    for api in (PMU_DEVICE, PMU_DEVICE_MPIDR):
        assert "It was never merged: no released kernel supports it" in said[api]


def test_a_kernel_of_ones_own_has_a_number_for_the_type(emit: Emit) -> None:
    done = emit(
        EXAMPLE.read_text(),
        "--api",
        PMU_DEVICE,
        "--scope",
        "vm",
        "--format",
        "jsonl",
        "--device-type",
        "99",
    )
    (made,) = [
        line
        for line in commands(done.stdout)
        if line["target"] == "pmu" and line["op"] == "create-device"
    ]
    assert (made["value"], made["device_id"]) == ("99", 99)
    for form in ("c", "sh"):
        done = emit(EXAMPLE.read_text(), "--api", PMU_DEVICE, "--scope", "vm", "--format", form)
        assert (done.returncode, done.stdout) == (1, "")
        assert "requires the number of KVM_DEV_TYPE_ARM_PMU_V3, which no released" in done.stderr
        assert "--device-type N" in done.stderr
        options = ("--api", PMU_DEVICE, "--scope", "vm", "--format", form, "--device-type", "99")
        assert emit(EXAMPLE.read_text(), *options).returncode == 0


@pytest.mark.parametrize("api", [PMU_DEVICE, PMU_DEVICE_MPIDR])
def test_c_and_sh_speak_every_api(
    api: str, emit: Emit, program: Callable[[str], str], tmp_path: Path
) -> None:
    options = ("--api", api, "--scope", "vm", "--device-type", "99")
    source = emit(EXAMPLE.read_text(), *options, "--format", "c").stdout
    (tmp_path / "plan.c").write_text(source)
    compiler = program("aarch64-linux-gnu-gcc")
    flags = ("-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
    done = subprocess.run(
        [compiler, *flags, "plan.c"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    name = "0xc80100000000" if api == PMU_DEVICE_MPIDR else "0x1"
    assert f".attr = {name}," in source
    assert ".type = 99" in source
    assert "never merged" in source
    (tmp_path / "plan.sh").write_text(emit(EXAMPLE.read_text(), *options, "--format", "sh").stdout)
    script = 'vmcfg_set_attr() { printf "%s\\n" "$*"; }\n. ./plan.sh\n'
    run = subprocess.run(
        [program("dash"), "-euc", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.stdout, run.stderr) == (emit(EXAMPLE.read_text(), *options).stdout, "")
    get = emit(EXAMPLE.read_text(), "--api", api, "--get", "--format", "sh").stdout
    assert f"vmcfg_set_attr get-attr pmu KVM_DEV_ARM_PMU_GRP_IRQ {name} s32 23" in get
    assert "KVM cannot return KVM_DEV_ARM_VGIC_CTRL_INIT" in get


WANTS_MORE = """
vmcfg: 1
name: vm
host_kernel: "6.16"
vcpus: 2
pmu:
  irq: 23
  device: armv8_pmuv3
  counters: 4
  filter: [{action: deny, events: 0x11}, {action: allow, events: 0x12}]
"""


def test_what_an_api_has_no_words_for_is_an_error_a_key(emit: Emit) -> None:
    for api in (PMU_DEVICE, PMU_DEVICE_MPIDR):
        done = emit(WANTS_MORE, "--api", api)
        assert (done.returncode, done.stdout) == (1, "")
        places = [
            line.split(" ")[0] for line in done.stderr.splitlines() if "error[VMC801]" in line
        ]
        assert places == ["vm.yaml:8:3:", "vm.yaml:9:3:", "vm.yaml:10:3:"]
        assert f"'pmu.counters' has no attribute in '--api {api}'" in done.stderr
        unchecked = emit(WANTS_MORE, "--api", api, "--unchecked")
        assert unchecked.returncode == 0
        assert len(unchecked.stdout.splitlines()) == 2
    assert emit(WANTS_MORE, "--api", VCPU).returncode == 0


def test_only_what_this_description_says_is_held_against_an_api() -> None:
    for sample in SAMPLES:
        machine = check(sample.read_bytes(), sample.name).machine
        assert machine is not None
        written = [machine.pmu.device, machine.pmu.counters, machine.pmu.filter or None]
        for api in (PMU_DEVICE, PMU_DEVICE_MPIDR):
            assert len(list(unsupported(machine, api))) == sum(
                each is not None for each in written
            ), sample
        assert not list(unsupported(machine, VCPU))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--api", "pmu"), "is not one of 'vcpu', 'pmu-device', 'pmu-device-mpidr'"),
        (("--device-type", "99"), "--device-type requires --api pmu-device"),
        (
            ("--device-type", "99", "--scope", "vm"),
            "--device-type requires --api pmu-device",
        ),
        (
            ("--device-type", "99", "--api", "pmu-device"),
            "--device-type requires --api pmu-device",
        ),
        (
            ("--device-type", "4294967296", "--api", "pmu-device", "--scope", "vm"),
            "4294967296 is not in the range",
        ),
        (("--get", "--scope", "vm"), "--get cannot be used with --scope vm"),
        (("--get", "--format", "c"), "--get cannot be used with --format c"),
    ],
)
def test_odd_options_are_refused(options: tuple[str, ...], message: str, emit: Emit) -> None:
    done = emit(EXAMPLE.read_text(), *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())


# Reading values back ------------------------------------------------------------------------------


def test_get_reads_what_the_example_sets(emit: Emit) -> None:
    done = emit(EXAMPLE.read_text(), "--get")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "get-reg vcpu:0 - MPIDR_EL1 u64 0x80000000",
        "get-reg vcpu:1 - MPIDR_EL1 u64 0x8000c801",
        "get-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 256",
        "get-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_DIST u64 0x8000000",
        "get-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION u64 "
        "0x200000080a0000",
        "get-attr vcpu:0 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23",
        "get-attr vcpu:1 KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3_IRQ s32 23",
    ]
    numbers = emit(EXAMPLE.read_text(), "--get", "--numbers").stdout.splitlines()
    assert numbers[1] == "get-reg vcpu:1 0 0x603000000013c005 8 01c8008000000000"
    assert numbers[4] == "get-attr gic 0 0x5 8 00000a0800002000"


def test_what_has_no_get_is_named_once(emit: Emit) -> None:
    """It is in a comment, if comments are requested, or in the header of JSON: text for programs
    contains only commands.
    """
    comments = emit(WANTS_MORE, "--get", "--comments").stdout
    names = ["SET_PMU", "SET_NR_COUNTERS", "FILTER", "INIT"]
    for name in names:
        assert comments.count(f"KVM_ARM_VCPU_PMU_V3_{name}") == 1
    plain = emit(WANTS_MORE, "--get").stdout.splitlines()
    assert [line for line in comments.splitlines() if not line.startswith("#")] == plain
    assert {line.partition(" ")[0] for line in plain} <= {"get-attr", "get-reg"}
    assert plain
    header = json.loads(emit(WANTS_MORE, "--get", "--format", "jsonl").stdout.splitlines()[0])
    assert header["not_read_back"] == [f"KVM_ARM_VCPU_PMU_V3_{name}" for name in names]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_get_and_set_are_of_the_same_attributes(sample: Path, api: Api) -> None:
    """Each GET has the bytes of its SET, or is listed as missing; registers are read per vCPU."""
    checked = check(sample.read_bytes(), sample.name)
    machine = checked.machine
    assert machine is not None
    sets = commands(jsonl(lower(machine, api=api), checked.tree))
    plan = read_back(machine, api=api)
    gets = commands(jsonl(plan, checked.tree))
    assert {line["request"] for line in sets} <= {hex(SET_DEVICE_ATTR), hex(SET_ONE_REG)}
    assert {line["request"] for line in gets} <= {hex(GET_DEVICE_ATTR), hex(GET_ONE_REG)}
    registers = [line for line in gets if line["attr"] == "MPIDR_EL1"]
    assert [(line["target"], line["mpidr"]) for line in registers] == [
        (f"vcpu:{vcpu.id}", vcpu.name) for vcpu in machine.vcpus
    ]

    def key(line: Json) -> tuple[Any, ...]:
        return (
            line["target"],
            line.get("group_id"),
            line.get("attr_id"),
            line.get("reg_id"),
            line["data"],
        )

    read = [key(line) for line in gets]
    assert len(set(read)) == len(read)
    for line in sets:
        name = line["group"] if line["attr"].startswith("0x") else line["attr"]
        assert (name in (plan.unread or ())) == ("data" not in line or key(line) not in read), line
    assert {"origin" in line for line in gets} == {True}
    assert len(text(plan, checked.tree).splitlines()) == len(gets)


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_schema_takes_every_api_both_ways(sample: Path) -> None:
    checked = check(sample.read_bytes(), sample.name)
    machine = checked.machine
    assert machine is not None
    for api in APIS:
        plans = [lower(machine, WHOLE_VM, api=api, device_type=number) for number in (None, 99)]
        for plan in (*plans, read_back(machine, api=api)):
            lines = [json.loads(line) for line in jsonl(plan, checked.tree).splitlines()]
            # One of each kind is enough: the schema check is slow, and all vCPUs are alike.
            for line in {
                (line["op"], line.get("attr"), line.get("target", "")[:3]): line for line in lines
            }.values():
                SCHEMA.validate(line)
            SCHEMA.validate(
                json.loads(json_object(plan._replace(commands=plan.commands[:3]), checked.tree))
            )


def test_schema_wants_what_an_api_and_a_get_must_say() -> None:
    machine = check(EXAMPLE.read_bytes(), "vm.yaml").machine
    tree = check(EXAMPLE.read_bytes(), "vm.yaml").tree
    assert machine is not None
    header = json.loads(jsonl(lower(machine, api=PMU_DEVICE), tree).splitlines()[0])
    for key in ("merged", "note"):
        assert not SCHEMA.is_valid({name: value for name, value in header.items() if name != key})
    assert not SCHEMA.is_valid({**header, "api": VCPU})
    made = next(
        line
        for line in commands(jsonl(lower(machine, WHOLE_VM, api=PMU_DEVICE), tree))
        if line["target"] == "pmu"
    )
    assert not SCHEMA.is_valid({**made, "attr": "KVM_DEV_TYPE_ARM_VGIC_V3"})
    gic = next(
        line
        for line in commands(jsonl(lower(machine, WHOLE_VM), tree))
        if line["op"] == "create-device"
    )
    assert not SCHEMA.is_valid({**gic, "device_id": None})
    gets = commands(jsonl(read_back(machine), tree))
    (region,) = [line for line in gets if line["attr"].endswith("REGION")]
    # KVM also reads the buffer here: the index of the region.
    assert region["start"] == "0000000000000000"
    assert not SCHEMA.is_valid({name: value for name, value in region.items() if name != "start"})
    for line in gets:
        for key in ("data", "origin", "request"):
            assert not SCHEMA.is_valid(
                {name: value for name, value in line.items() if name != key}
            ), (line, key)
        assert line is region or not SCHEMA.is_valid({**line, "start": "00"})


def test_what_is_set_once_for_all_is_read_on_every_vcpu(emit: Emit) -> None:
    description = "vmcfg: 1\nname: vm\nvcpus: 3\ntimers: {virtual: 20}\n"
    assert emit(description).stdout.count("set-attr") == 1
    read = [line for line in emit(description, "--get").stdout.splitlines() if "TIMER" in line]
    assert read == [
        f"get-attr vcpu:{vcpu} KVM_ARM_VCPU_TIMER_CTRL KVM_ARM_VCPU_TIMER_IRQ_VTIMER s32 20"
        for vcpu in range(3)
    ]


def test_a_register_that_is_set_twice_is_read_once(emit: Emit) -> None:
    text = (
        "vmcfg: 1\nname: vm\nvcpus: 1\nregisters:\n"
        "  - {name: KVM_REG_ARM_STD_BMAP, value: 0}\n"
        "  - {name: KVM_REG_ARM_STD_BMAP, value: 1}\n"
    )
    lines = emit(text, "--get", "--unchecked").stdout.splitlines()
    assert [line for line in lines if "STD_BMAP" in line] == [
        "get-reg vcpu:0 - KVM_REG_ARM_STD_BMAP u64 0x1"
    ]


def test_try_reads_the_list_of_emit_get() -> None:
    """`perform` uses the result of `reads` for the commands that it executed."""
    machine = check((ROOT / "sample-configs" / "full.yaml").read_bytes(), "full.yaml").machine
    assert machine is not None
    commands = lower(machine, WHOLE_VM).commands
    listed = [get.fields() for _, get in reads(commands, machine.host_kernel)]
    assert sorted(listed) == sorted(get.fields() for get in read_back(machine).commands)
    assert vars(perform)["reads"] is reads


def test_a_capability_has_at_most_four_arguments(emit: Emit) -> None:
    """Struct kvm_enable_cap has no room for more; VMC318 reports them."""
    text = "vmcfg: 1\nname: vm\nvcpus: 1\ncapabilities: [{name: KVM_CAP_HALT_POLL, args: ARGS}]\n"
    done = emit(text.replace("ARGS", "[1, 2, 3, 4, 5]"), "--unchecked", "--scope", "vm")
    assert "enable-cap vm - KVM_CAP_HALT_POLL args 0x1,0x2,0x3,0x4\n" in done.stdout
    assert "VMC318" in done.stderr
