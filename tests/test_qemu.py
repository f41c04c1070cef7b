"""The table of QEMU in both directions: command lines are imported and emitted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.seeds import SEED
from tests.strategies import descriptions, json_text
from vmcfg import cli
from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.checking.check import check
from vmcfg.description.draft import NoDraft, description_text
from vmcfg.formats.registry import MACHINE_FORMATS
from vmcfg.monitors.qemu import HighRanges, Options, options_for
from vmcfg.monitors.qemu_command_line import (
    command_line,
    draft_of_command_line,
    read_command_line,
    words_of,
)
from vmcfg.monitors.rules import findings_for_qemu
from vmcfg.vm.frames import V3_REDIST_SIZE
from vmcfg.vm.machine import Machine

SAMPLES = Path(__file__).parent.parent / "sample-configs"

few = settings(max_examples=200)


def machine_of(text: str) -> Machine:
    """Return the machine of a description that a command line became."""
    checked = check(text.encode(), "vm.yaml")
    assert checked.machine is not None, checked.diagnostics
    return checked.machine


def imported(words: list[str]) -> Machine:
    return machine_of(description_text(draft_of_command_line(words)))


# Samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sample", "vcpus"), [("qemu-virt", 2), ("qemu-virt-130", 130)])
def test_a_sample_is_what_import_makes_of_its_command_line(sample: str, vcpus: int) -> None:
    line = (
        f"qemu-system-aarch64 -name {sample} -accel kvm -M virt,gic-version=3 -cpu host,pmu=on"
        f" -smp {vcpus} -m 1G"
    )
    written = check((SAMPLES / f"{sample}.yaml").read_bytes(), sample).machine
    assert imported(shlex.split(line)) == written


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.yaml")))
def test_samples_have_a_command_line_or_findings(sample: str) -> None:
    machine = check((SAMPLES / f"{sample}.yaml").read_bytes(), sample).machine
    assert machine is not None
    found = list(findings_for_qemu(machine))
    can_run = {"gicv2", "minimal", "uniform", "qemu-virt", "qemu-virt-130"}
    assert (not found) == (sample in can_run)


# Descriptions for which QEMU has a command line ---------------------------------------------------

RUN = sorted((Path(__file__).parent / "qemu").glob("*.yaml"))
"""tests/kvm runs each of them with QEMU, on real kernels."""


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_the_command_line_is_the_golden_one(
    path: Path, same_as_file: Callable[[Path, bytes], None]
) -> None:
    machine = machine_of(path.read_text())
    assert list(findings_for_qemu(machine)) == []
    assert machine.name == path.stem
    same_as_file(path.with_suffix(".out"), command_line(machine).encode())
    assert_contains(imported(shlex.split(command_line(machine))), machine)


def test_enough_descriptions_are_run() -> None:
    assert len(RUN) >= 24
    assert sorted(path.stem for path in RUN) == sorted(
        path.stem for path in RUN[0].parent.glob("*.out")
    )


# Laws ---------------------------------------------------------------------------------------------


def vector_lengths() -> SearchStrategy[tuple[int, ...]]:
    """Return sets of vector lengths as KVM accepts them: all powers of two up to a maximum."""
    whole = [tuple(128 << number for number in range(count)) for count in range(6)]
    return st.sampled_from([*whole, (128, 256, 384, 512)])


@st.composite
def options(draw: st.DrawFn) -> Options:
    """Draw options as `options_for` returns them for the VM that they create."""
    version = draw(st.sampled_from([None, 2, 3]))
    least, most = (1, 8) if version != 3 else (1, 512)
    vcpus = draw(st.integers(least, most))
    is_32_bit = draw(st.sampled_from([False, False, False, True]))
    sve = False if is_32_bit else draw(st.sampled_from([None, True]))
    low = draw(st.sampled_from([False, False, True])) and vcpus <= 123
    return Options(
        name=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")),
        vcpus=vcpus,
        memory=8192 * draw(st.integers(1, 3 << 17 if low else 1 << 30)),
        gic_version=version,
        its=draw(st.booleans()) if version == 3 else None,
        pmu=draw(st.booleans()),
        steal_time=False if is_32_bit else draw(st.booleans()),
        sve=sve,
        vector_lengths=draw(vector_lengths()) if sve else (),
        ptrauth=False if is_32_bit else draw(st.sampled_from([None, True])),
        aarch64=False if is_32_bit else None,
        high=HighRanges(is_used=not low),
    )


def in_full(given: Options) -> Options:
    """Return the options with what QEMU does if the host supports it."""
    return given._replace(
        sve=given.sve is not False,
        ptrauth=given.ptrauth is not False,
    )


def test_reading_returns_what_was_written() -> None:
    @few
    @given(options())
    def law(given: Options) -> None:
        assert read_command_line(words_of(given)) == (given, [])

    law()


def test_options_are_those_of_their_description() -> None:
    """Options, their VM as a description, and the options for it."""

    @few
    @given(options())
    def law(given: Options) -> None:
        machine = imported(words_of(given))
        assert list(findings_for_qemu(machine)) == []
        # A description always has the features that the host might have.
        expected = in_full(given) if given.aarch64 is None else given
        assert options_for(machine) == expected

    law()


@st.composite
def written_by_people(draw: st.DrawFn) -> dict[str, Any]:
    """Draw descriptions of VMs that QEMU can create, with fewer keys and in other forms."""
    text = description_text(draft_of_command_line(words_of(draw(options()))))
    data: dict[str, Any] = json.loads(json.dumps(as_data(machine_of(text))))
    open_ = ["ipa_bits", "features", "gic"]
    if data["memory"][0]["size"] <= 255 << 30:
        # More RAM changes other addresses.
        open_.append("memory")
    for key in open_:
        if draw(st.sampled_from([False, False, True])):
            data.pop(key, None)
    if "memory" not in data:
        data.pop("steal_time", None)
    if "sve" not in data.get("features", []):
        data.pop("sve", None)
    if "memory" in data:
        data["memory"] = draw(_other_slots(data["memory"]))
    if "gic" in data:
        draw(_other_gic(data))
    if draw(st.booleans()):
        data["vcpus"] = [
            {"mpidr": mpidr_text(mpidr_of_id(number))} for number in range(data["vcpus"])
        ]
    return data


def as_data(machine: Machine) -> dict[str, Any]:
    """Return the description of an imported machine as JSON data."""
    gic = machine.gic
    data: dict[str, Any] = {
        "vmcfg": 1,
        "name": machine.name,
        "vcpus": len(machine.vcpus),
        "ipa_bits": machine.ipa_bits,
        "memory": [{"base": slot.base, "size": slot.size} for slot in machine.memory],
    }
    if machine.vcpus[0].pmu_irq is not None:
        data["pmu"] = {"irq": machine.vcpus[0].pmu_irq}
    if machine.steal_time is not None:
        data["steal_time"] = machine.steal_time.base
    if machine.features:
        data["features"] = list(machine.features)
    if machine.sve.vector_lengths:
        data["sve"] = {"vector_lengths": list(machine.sve.vector_lengths)}
    if gic is not None:
        data["gic"] = {"version": gic.version, "nr_irqs": gic.nr_irqs}
        data["gic"]["distributor"] = gic.distributor
        if gic.version == 2:
            data["gic"]["cpu_interface"] = gic.cpu_interface
        elif isinstance(gic.redistributors, tuple):
            regions = [{"base": base, "count": count} for base, count in gic.redistributors]
            data["gic"] |= {"redistributors": regions, "its": list(gic.its)}
    return data


@st.composite
def _other_slots(draw: st.DrawFn, slots: list[dict[str, int]]) -> list[dict[str, Any]]:
    """Draw other slots with the same addresses: the RAM in two parts, and flash."""
    ram, *others = slots
    first = 0x10000 * draw(st.integers(0, 4))
    if 0 < first < ram["size"]:
        rest = {"base": ram["base"] + first, "size": ram["size"] - first}
        slots = [rest, *others, {"base": ram["base"], "size": first}]
    if draw(st.booleans()):
        return [{"base": 0x400_0000, "size": 0x400_0000, "readonly": True}, *slots]
    return slots


@st.composite
def _other_gic(draw: st.DrawFn, data: dict[str, Any]) -> None:
    """Change the GIC of a description to another form of the same, or leave something open."""
    gic = data["gic"]
    if draw(st.booleans()):
        del gic["nr_irqs"]
    if gic["version"] == 3 and len(gic["redistributors"]) == 1 and draw(st.booleans()):
        gic["redistributors"] = gic["redistributors"][0]["base"]
    if draw(st.booleans()):
        gic["set_up_by"] = "monitor"
        for key in ("distributor", "redistributors", "cpu_interface"):
            if draw(st.booleans()):
                gic.pop(key, None)
        if gic.get("its") and draw(st.booleans()):
            del gic["its"]


def test_what_a_description_says_is_in_the_import_of_its_command_line() -> None:
    """A description, its command line, and the description of that."""

    @few
    @given(written_by_people())
    def law(data: dict[str, Any]) -> None:
        machine = machine_of(json_text(data))
        assert list(findings_for_qemu(machine)) == []
        assert_contains(imported(shlex.split(command_line(machine))), machine)

    law()


def assert_contains(whole: Machine, part: Machine) -> None:
    """Assert that `whole` has everything that is written in `part`.

    This is the comparison of the rules in another form: by expanded addresses and values.
    """
    assert [(vcpu.mpidr, vcpu.pmu_irq) for vcpu in whole.vcpus] == [
        (vcpu.mpidr, vcpu.pmu_irq) for vcpu in part.vcpus
    ]
    assert whole.name == part.name
    assert whole.steal_time == part.steal_time
    assert part.has_default_ipa_bits or whole.ipa_bits == part.ipa_bits
    assert set(part.features) <= set(whole.features)
    assert part.sve.vector_lengths in ((), whole.sve.vector_lengths)
    writable = {page for slot in whole.memory for page in edges(slot.addresses)}
    for slot in part.memory:
        if not slot.readonly:
            first, end = slot.addresses
            (outer,) = [
                each.addresses
                for each in whole.memory
                if each.base <= first and end <= sum((each.base, each.size))
            ]
            assert outer[0] in writable
    if part.gic is not None:
        assert whole.gic is not None
        assert_gic_contains(whole, part)


def edges(addresses: tuple[int, int]) -> set[int]:
    return {addresses[0], addresses[1] - 1}


def assert_gic_contains(whole: Machine, part: Machine) -> None:
    assert whole.gic is not None and part.gic is not None
    for key in ("version", "nr_irqs", "distributor", "cpu_interface"):
        assert getattr(part.gic, key) in (None, getattr(whole.gic, key))
    if part.sets_up_gic() or part.gic.its:
        assert whole.gic.its == part.gic.its
    if part.gic.redistributors is not None:
        assert redistributors(whole) == redistributors(part)


def redistributors(machine: Machine) -> list[int]:
    """Return the address of the redistributor of each vCPU."""
    assert machine.gic is not None
    written = machine.gic.redistributors
    regions = [(written, 512)] if isinstance(written, int) else list(written or ())
    every = [
        base + V3_REDIST_SIZE * number for base, count in regions for number in range(count or 512)
    ]
    return every[: len(machine.vcpus)]


@pytest.mark.slow
def test_a_description_without_finding_is_what_its_command_line_creates() -> None:
    """Random descriptions: most have findings. The others are imported from their command line."""

    @settings(max_examples=400)
    @seed(SEED)
    @given(descriptions())
    def law(data: dict[str, Any]) -> None:
        machine = machine_of(json_text(data))
        if not list(findings_for_qemu(machine)):
            assert_contains(imported(shlex.split(command_line(machine))), machine)

    law()


# Reading ------------------------------------------------------------------------------------------

BY_LIBVIRT = r"""
LC_ALL=C PATH=/usr/local/bin:/usr/bin HOME=/run/lib/qemu/domain--1-edge /usr/bin/qemu-system-aarch64
-name guest=edge,debug-threads=on -S
-object '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/run/master-key.aes"}'
-machine virt-7.2,usb=off,gic-version=3,dump-guest-core=off,memory-backend=mach-virt.ram -accel kvm
-cpu host,pmu=on -m 1024
-object '{"qom-type":"memory-backend-ram","id":"mach-virt.ram","size":1073741824}'
-overcommit mem-lock=off -smp 2,sockets=2,cores=1,threads=1
-uuid 037d7e17-c4f6-4e5a-9fa1-6c116b469ad6 -display none -no-user-config -nodefaults
-chardev socket,id=charmonitor,path=/run/monitor.sock,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control -rtc base=utc -no-shutdown -no-acpi -boot strict=on
-blockdev '{"driver":"file","filename":"/a,b.img","node-name":"disk"}'
-device '{"driver":"virtio-blk-pci","drive":"disk","id":"virtio-disk0"}'
-netdev user,id=hostnet0 -device virtio-net-pci,netdev=hostnet0
-audiodev '{"id":"audio1","driver":"none"}'
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny -msg timestamp=on
"""


def test_a_line_of_libvirt_is_read_in_silence() -> None:
    draft = draft_of_command_line(shlex.split(BY_LIBVIRT))
    assert draft.warnings == []
    assert draft.name == "edge"
    machine = machine_of(description_text(draft))
    short = "qemu-system-aarch64 -name edge -M virt,accel=kvm,gic-version=3 -cpu host -smp 2 -m 1G"
    assert machine == imported(shlex.split(short))


BASE = "qemu-system-aarch64 -M virt,gic-version=3 -accel kvm -cpu host -smp 2"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("-device pc-dimm,memdev=m1", "-device pc-dimm"),
        ("""-device '{"driver":"virtio-mem-pci","memdev":"m"}'""", "-device virtio-mem-pci"),
        ("-machine secure=on", "-machine secure=on"),
        ("-machine virt,kernel-irqchip=off", "-machine kernel-irqchip=off"),
        ("-machine virt,kernel_irqchip=off", "-machine kernel_irqchip=off"),
        ("-accel kvm,kernel_irqchip=off", "-accel kernel_irqchip=off"),
        ("-accel kvm,eager-split-size=64k", "-accel eager-split-size=64k"),
        ("-machine gic-version=4", "-machine gic-version=4"),
        ("-machine confidential-guest-support=rme0", "-machine confidential-guest-support=rme0"),
        ("-accel kvm,dirty-ring-size=4096", "-accel dirty-ring-size=4096"),
        ("-cpu host,sve512=off", "-cpu sve512=off"),
        ("-cpu host,midr=0x410fd0c0", "-cpu midr=0x410fd0c0"),
        ("-cpu cortex-a57", "-cpu cortex-a57"),
        ("-global host-arm-cpu.pmu=off", "-global host-arm-cpu.pmu=off"),
        ("-readconfig vm.cfg", "-readconfig"),
        ("-set machine.x=y", "-set"),
        ("-no-such-option", "-no-such-option"),
    ],
)
def test_what_changes_the_vm_in_an_unknown_way_is_named(arguments: str, named: str) -> None:
    _, others = read_command_line(shlex.split(f"{BASE} {arguments}"))
    assert others == [f"'{named}' changes the VM in a way that vmcfg does not know."]


@pytest.mark.parametrize(
    "arguments",
    [
        "-machine acpi=off,usb=on,iommu=smmuv3,ras=on -object memory-backend-ram,id=m1,size=1G",
        "-device virtio-net-pci -drive if=pflash,format=raw,file=a.fd -nographic -snapshot a.img",
        "-kernel Image -append 'console=ttyAMA0 -m 4' -initrd rd -global virtio-pci.x=off -S -s",
        "-cpu host,kvm-no-adjvtime=on -accel kvm,kernel-irqchip=on -enable-kvm --no-reboot",
        "-machine kernel_irqchip=on -accel kvm,kernel_irqchip=on,dirty-ring-size=0",
    ],
)
def test_what_says_nothing_of_this_is_ignored(arguments: str) -> None:
    assert read_command_line(shlex.split(f"{BASE} {arguments}")) == read_command_line(
        shlex.split(BASE)
    )


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ("-smp 2,sockets=2,cores=2,maxcpus=4", {"vcpus": 2}),
        ("-smp cpus=0,sockets=2,cores=3,threads=2", {"vcpus": 12}),
        ("-machine smp.cpus=5", {"vcpus": 5}),
        ("-smp cpus=3 -smp maxcpus=3", {"vcpus": 3}),
        ("-m 1.5G", {"memory": 3 << 29}),
        ("-m 0x400", {"memory": 1 << 30}),
        ("-m size=8192k,slots=2,maxmem=1G", {"memory": 8 << 20}),
        ("-machine memory.size=64M", {"memory": 64 << 20}),
        ("-cpu max,pmu=off,kvm-steal-time=no", {"pmu": False, "steal_time": False}),
        ("-cpu host,pmu=off -cpu host,sve=off,pauth=off", {"sve": False, "ptrauth": False}),
        ("-cpu host,sve=on,sve256=on,sve128=on", {"sve": True, "vector_lengths": (128, 256)}),
        ("-machine its=off", {"its": False}),
        ("-machine msi=gicv2m", {"its": False}),
        ("-machine virt-5.1", {"steal_time": False, "high": HighRanges(is_compact=False)}),
        ("-machine gic-version=max", {"gic_version": None}),
        ("-machine gic-version=2", {"gic_version": 2}),
        ("-machine mte=on,virtualization=true", {"mte": True, "el2": True}),
        ("-name guest=a,,b,process=x", {"name": "a-b"}),
        ("-name web -name debug-threads=on", {"name": "web"}),
    ],
)
def test_options_are_read_as_qemu_reads_them(arguments: str, changed: dict[str, Any]) -> None:
    read, others = read_command_line(shlex.split(f"{BASE} {arguments}"))
    if "size=8192k" in arguments:
        changed = {**changed, "high": HighRanges(devices_size=(1 << 30) - (8 << 20) + (2 << 30))}
    before, _ = read_command_line(shlex.split(BASE))
    assert (read, others) == (before._replace(**changed), [])


@pytest.mark.parametrize(
    ("arguments", "bits", "second"),
    [
        ("-smp 130", 40, 0x40_0000_0000),
        ("-smp 130 -m 510G", 40, 0x7F_C000_0000),
        ("-smp 130 -m 511G", 41, 0x80_0000_0000),
        ("-smp 130 -m 1024,slots=4,maxmem=600G", 41, 0x97_4000_0000),
        ("-machine highmem-mmio=off", 39, None),
        ("-machine highmem-mmio=off,highmem-ecam=off,highmem-redists=off -m 3G", 32, None),
        ("-machine highmem-mmio=off,highmem-ecam=off,highmem-redists=off -m 5G", 33, None),
        ("-machine virt-7.1,highmem-mmio=off", 40, None),
        ("-machine highmem-mmio-size=1T", 41, None),
        ("-machine highmem=off", 32, None),
    ],
)
def test_addresses_above_the_ram(arguments: str, bits: int, second: int | None) -> None:
    machine = imported(shlex.split(f"{BASE} {arguments}"))
    assert machine.ipa_bits == bits
    assert machine.gic is not None
    regions = machine.gic.redistributors
    assert isinstance(regions, tuple)
    assert [base for base, _ in regions][1:] == ([] if second is None else [second])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("qemu-system-x86_64 -M virt", "'qemu-system-x86_64' is not QEMU for arm64"),
        ("qemu-system-aarch64 -smp 2", "it does not contain '-machine virt'"),
        ("qemu-system-aarch64 -M raspi3b", "its machine is 'raspi3b', and vmcfg knows only 'virt'"),
        ("ls", "it is not a command line of QEMU"),
        (f"{BASE} -smp 513", "it has 513 vCPUs; QEMU supports 1 to 512"),
        (f"{BASE} -smp two", "the value in '-smp cpus=two' is not a number"),
        (f"{BASE} -m 1X", "the value in '-m size=1X' is not a size"),
        (f"{BASE} -m 9999999999G", "its VM requires"),
        (f"{BASE} -M its=perhaps", "the value in '-machine its=perhaps' must be 'on' or 'off'"),
        (f"{BASE} -M highmem-mmio-size=0", "is not a power of two from 512 GiB on"),
    ],
)
def test_what_is_no_vm_of_qemu_is_a_sentence(line: str, reason: str) -> None:
    with pytest.raises(NoDraft) as raised:
        draft_of_command_line(shlex.split(line))
    assert reason in str(raised.value)


def test_without_kvm_it_is_said() -> None:
    line = "qemu-system-aarch64 -M virt -cpu host -accel tcg"
    assert "does not use KVM" in read_command_line(shlex.split(line))[1][0]


def test_what_the_host_decides_is_noted() -> None:
    notes = draft_of_command_line(
        shlex.split("qemu-system-aarch64 -M virt,accel=kvm -cpu host")
    ).notes
    assert notes == [
        "The host decides the version of the GIC.",
        "QEMU enables this only if the host supports it: the PMU, steal time, SVE, pointer"
        " authentication.",
    ]


@pytest.mark.parametrize(("vcpus", "version"), [(8, None), (9, 3), (512, 3)])
def test_more_vcpus_than_a_gicv2_has_mean_a_gicv3(vcpus: int, version: int | None) -> None:
    line = f"qemu-system-aarch64 -M virt,accel=kvm -cpu host -smp {vcpus}"
    draft = draft_of_command_line(shlex.split(line))
    assert ("The host decides the version of the GIC." in draft.notes) == (version is None)
    gic = machine_of(description_text(draft)).gic
    assert (None if gic is None else gic.version) == version


_WORDS = """
    -machine -M -cpu -smp -m -name -accel -device -global -object - -- = , ,, virt virt-7.2 host max
    virt,gic-version=3 its=off ,its=on kvm tcg {"driver": {"driver":"pc-dimm"} [] 1 4 0x10 1G -1
    99999999999999999999 memory.size=1G smp.cpus=2 sve128=on,sve=off guest= é -S qemu-kvm
"""
_PIECES = st.sampled_from([*_WORDS.split(), "\0", "\n", ""])


def test_any_words_are_read_or_are_a_sentence() -> None:
    @few
    @given(st.lists(st.lists(_PIECES, max_size=3).map("".join), max_size=12))
    def law(words: list[str]) -> None:
        try:
            draft = draft_of_command_line(["qemu-system-aarch64", "-M", "virt", *words])
        except NoDraft as error:
            assert "\n" not in str(error)
        else:
            machine_of(description_text(draft))

    law()


# The command --------------------------------------------------------------------------------------

MINIMAL = str(SAMPLES / "minimal.yaml")


def emit(*arguments: str) -> int:
    code = cli.vmcfg.main(["emit", *arguments], prog_name="vmcfg", standalone_mode=False)
    return code or 0


def test_the_line_is_for_a_shell(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tmp_path / "vm.qemu"
    assert emit(MINIMAL, "--format", "qemu", "-o", str(output)) == 0
    assert capsys.readouterr() == ("", "1 of 1 file changed\n")
    assert output.read_text() == (
        "qemu-system-aarch64 -name edge-gateway -accel kvm -machine virt"
        " -cpu host,pmu=on,kvm-steal-time=off -smp 2\n"
    )


def test_findings_prevent_the_line_except_unchecked(capsys: pytest.CaptureFixture[str]) -> None:
    kvmtool = str(SAMPLES / "kvmtool.yaml")
    assert emit(kvmtool, "--format", "qemu") == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("error[VMC8") == 5
    assert emit(kvmtool, "--format", "qemu", "--unchecked") == 0
    assert capsys.readouterr()[0].startswith("qemu-system-aarch64 -name kvmtool -accel kvm")


@pytest.mark.parametrize("format_", MACHINE_FORMATS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--scope", "vm"],
        ["--scope", "attributes"],
        ["--phase", "create"],
        ["--api", "vcpu"],
        ["--get"],
        ["--device-type", "9"],
        ["--numbers"],
        ["--main"],
    ],
)
def test_options_of_plans_are_refused(format_: str, arguments: list[str]) -> None:
    with pytest.raises(click.UsageError) as raised:
        emit(MINIMAL, "--format", format_, *arguments)
    assert arguments[0] in str(raised.value)


def test_hosts_are_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    host = json.loads((Path(__file__).parent / "hosts/has-everything.json").read_bytes())
    host["capabilities"]["KVM_CAP_ARM_PMU_V3"] = 0
    (tmp_path / "host.json").write_text(json.dumps(host))
    arguments = (MINIMAL, "--format", "qemu", "--host")
    assert emit(*arguments, str(tmp_path / "host.json")) == 1
    assert "VMC716" in capsys.readouterr()[1]
