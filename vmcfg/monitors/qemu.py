"""QEMU's board virt with KVM: from the options of a command line to the VM that QEMU creates.

This is the only table of it: `vmcfg import` evaluates it, and `vmcfg emit --format qemu` looks for
the options whose VM is that of a description. Files are those of the source of QEMU.
"""

# No annotations from __future__: NamedTuple would compile each of them at every start.

from typing import Any, NamedTuple

from vmcfg.arm.affinity import mpidr_of_id, mpidr_text
from vmcfg.vm.machine import Extent, Machine

RECORDED = ("7.2", "10.0", "11.1")
"""The versions of QEMU whose calls to KVM were recorded: those of Debian 12, 13, and sid. What is
emitted must be right for each of them.
"""


class Fact(NamedTuple):
    """A number that QEMU has fixed, and the file and the name of it in the source of QEMU."""

    value: int
    source: str


_KIB = 1 << 10
_MIB = 1 << 20
_GIB = 1 << 30
_TIB = 1 << 40

PMU_IRQ = Fact(23, "include/hw/arm/bsa.h:VIRTUAL_PMU_IRQ")
NR_IRQS = Fact(288, "hw/arm/virt.c:create_gic, NUM_IRQS + 32")
MAINTENANCE_IRQ = Fact(25, "include/hw/arm/bsa.h:ARCH_GIC_MAINT_IRQ")

DISTRIBUTOR = Fact(0x0800_0000, "hw/arm/virt.c:base_memmap, VIRT_GIC_DIST")
CPU_INTERFACE = Fact(0x0801_0000, "hw/arm/virt.c:base_memmap, VIRT_GIC_CPU")
ITS = Fact(0x0808_0000, "hw/arm/virt.c:base_memmap, VIRT_GIC_ITS")
REDISTRIBUTORS = Fact(0x080A_0000, "hw/arm/virt.c:base_memmap, VIRT_GIC_REDIST")
FIRST_REGION_COUNT = Fact(123, "hw/arm/virt.c:virt_redist_capacity of VIRT_GIC_REDIST")
STEAL_TIME = Fact(0x090A_0000, "hw/arm/virt.c:base_memmap, VIRT_PVTIME")

RAM = Fact(0x4000_0000, "hw/arm/virt.c:base_memmap, VIRT_MEM")
RAM_SIZE_DEFAULT = Fact(128 * _MIB, "hw/core/machine.c:machine_class_base_init, default_ram_size")
RAM_SIZE_STEP = Fact(8 * _KIB, "hw/core/machine.c:machine_set_mem")
FLASH_END = Fact(0x0800_0000, "hw/arm/virt.c:base_memmap, VIRT_FLASH")
"""Two devices of 64 MiB each from address 0: KVM gets them as read-only slots."""

HIGH_BASE = Fact(256 * _GIB, "hw/arm/virt.c:virt_set_memmap, LEGACY_RAMLIMIT_BYTES")
"""The lowest address of the ranges above the RAM."""
SECOND_REGION_SIZE = Fact(64 * _MIB, "hw/arm/virt.c:extended_memmap, VIRT_HIGH_GIC_REDIST2")
HIGH_ECAM_SIZE = Fact(256 * _MIB, "hw/arm/virt.c:extended_memmap, VIRT_HIGH_PCIE_ECAM")
HIGH_MMIO_SIZE = Fact(512 * _GIB, "hw/arm/virt.c:extended_memmap, VIRT_HIGH_PCIE_MMIO")

IPA_BITS_LEAST = Fact(32, "hw/arm/virt.c:virt_kvm_type")
LOW_IPA_BITS = Fact(32, "hw/arm/virt.c:virt_set_memmap, highmem")
"""The number of address bits with ``highmem=off``."""

MOST_VCPUS = Fact(512, "hw/arm/virt.c:virt_machine_class_init, max_cpus")
MOST_VCPUS_OF_GICV2 = Fact(8, "include/hw/intc/arm_gic_common.h:GIC_NCPU")

STEAL_TIME_SLOT_SIZE = 64 * _KIB
"""The size of the slot in a description: enough for 512 vCPUs, and a multiple of each page size of
hosts. QEMU uses as many pages of the host as its vCPUs need.
"""

CAPABILITIES: dict[str, tuple[int, ...]] = {
    "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2": (3,),
    "KVM_CAP_ARM_NISV_TO_USER": (),
}
"""The capabilities that QEMU enables on every VM, with their arguments
(accel/kvm/kvm-all.c:kvm_init, target/arm/kvm.c:kvm_arch_init).
"""


class HighRanges(NamedTuple):
    """The ranges of addresses above the RAM: which ones QEMU uses, and how it places them.

    Without `is_used`, there are only 32 address bits. Without `is_compact`, a range that is not
    used keeps its place. `devices_size` are the bytes for memory that is added later.
    """

    is_used: bool = True
    redistributors: bool = True
    ecam: bool = True
    mmio: bool = True
    mmio_size: int = HIGH_MMIO_SIZE.value
    is_compact: bool = True
    devices_size: int = 0


class Options(NamedTuple):
    """The options of a command line that change what QEMU sends to KVM; None if not given.

    `memory` is in bytes, `vector_lengths` are in bits, and `aarch64` is whether EL1 is 64-bit.
    """

    name: str | None = None
    vcpus: int = 1
    memory: int | None = None
    gic_version: int | None = None
    its: bool | None = None
    pmu: bool | None = None
    steal_time: bool | None = None
    sve: bool | None = None
    vector_lengths: tuple[int, ...] = ()
    ptrauth: bool | None = None
    aarch64: bool | None = None
    mte: bool = False
    el2: bool = False
    high: HighRanges = HighRanges()


class Vm(NamedTuple):
    """The VM that QEMU creates.

    Without `gic_version`, the host decides the GIC. `redistributors` are regions: a base and a
    count. `most_vcpus` is the number of vCPUs for which QEMU has redistributors.
    """

    vcpus: int
    ipa_bits: int
    ram: Extent
    gic_version: int | None
    redistributors: tuple[tuple[int, int], ...]
    most_vcpus: int
    its: tuple[int, ...]
    pmu_irq: int | None
    steal_time: int | None
    features: tuple[str, ...]
    vector_lengths: tuple[int, ...]


def vm_of(options: Options) -> Vm:
    """Return the VM that QEMU creates with `options`.

    What QEMU enables if the host supports it is enabled.
    """
    is_64_bit = options.aarch64 is not False
    memory = memory_of(options)
    highest, second_region = _high_ranges(memory, options.high)
    version = gic_version_of(options)
    most = _most_vcpus(version, second_region)
    return Vm(
        vcpus=options.vcpus,
        ipa_bits=max(IPA_BITS_LEAST.value, highest.bit_length()),
        ram=(RAM.value, RAM.value + memory),
        gic_version=version,
        redistributors=_regions(options.vcpus, second_region) if version == 3 else (),
        most_vcpus=most,
        its=(ITS.value,) if version == 3 and options.its is not False else (),
        pmu_irq=None if options.pmu is False else PMU_IRQ.value,
        steal_time=STEAL_TIME.value if options.steal_time is not False and is_64_bit else None,
        features=tuple(_features(options)),
        vector_lengths=_vector_lengths(options.vector_lengths),
    )


def memory_of(options: Options) -> int:
    """Return the size of the RAM in bytes: QEMU rounds it up."""
    asked = RAM_SIZE_DEFAULT.value if options.memory is None else options.memory
    return _rounded_up(asked, RAM_SIZE_STEP.value)


def gic_version_of(options: Options) -> int | None:
    """Return the version of the GIC; None if the host decides it.

    Without option, QEMU uses GICv2 if the host supports it and has no more than 8 vCPUs
    (hw/arm/virt.c:finalize_gic_version).
    """
    if options.gic_version is None and options.vcpus > MOST_VCPUS_OF_GICV2.value:
        return 3
    return options.gic_version


def _features(options: Options) -> list[str]:
    """Return the features of the vCPUs, in the order of the documentation."""
    is_64_bit = options.aarch64 is not False
    enabled = {
        "sve": options.sve is not False and is_64_bit,
        "ptrauth": options.ptrauth is not False and is_64_bit,
        "el2": options.el2,
        "el1_32bit": not is_64_bit,
        "mte": options.mte,
    }
    return [feature for feature, is_enabled in enabled.items() if is_enabled]


def _vector_lengths(given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the vector lengths with those that QEMU adds, up to the greatest one: all lengths of
    the host, which always has the powers of two (target/arm/cpu64.c:arm_cpu_sve_finalize).
    """
    greatest = max(given, default=0)
    powers = {128 << number for number in range(5) if 128 << number <= greatest}
    return tuple(sorted(powers.union(given)))


def _high_ranges(memory: int, high: HighRanges) -> tuple[int, int | None]:
    """Return the highest address, and the base of the second redistributor region, if any
    (hw/arm/virt.c:virt_set_memmap and virt_set_high_memmap).
    """
    top = _rounded_up(RAM.value + memory, _GIB) + _rounded_up(high.devices_size, _GIB)
    highest = top - 1
    if not high.is_used:
        return highest, None
    second_region = None
    base = max(top, HIGH_BASE.value)
    ranges = (
        (SECOND_REGION_SIZE.value, high.redistributors),
        (HIGH_ECAM_SIZE.value, high.ecam),
        (high.mmio_size, high.mmio),
    )
    for number, (size, is_used) in enumerate(ranges):
        if high.is_compact and not is_used:
            continue
        base = _rounded_up(base, size)
        if number == 0 and is_used:
            second_region = base
        base += size
        highest = base - 1
    return highest, second_region


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _most_vcpus(version: int | None, second_region: int | None) -> int:
    """Return the number of vCPUs for which QEMU has room in the frames of the GIC."""
    if version == 2:
        return MOST_VCPUS_OF_GICV2.value
    return FIRST_REGION_COUNT.value if second_region is None else MOST_VCPUS.value


def _regions(vcpus: int, second_region: int | None) -> tuple[tuple[int, int], ...]:
    """Return the redistributor regions of a GICv3 (hw/arm/virt.c:create_gic)."""
    first = min(vcpus, FIRST_REGION_COUNT.value)
    regions = [(REDISTRIBUTORS.value, first)]
    if vcpus > first and second_region is not None:
        regions.append((second_region, vcpus - first))
    return tuple(regions)


# The description of the VM ------------------------------------------------------------------------


def description_data(vm: Vm) -> dict[str, Any]:
    """Return the description of `vm` as JSON data, without a name; see `Draft`."""
    ram_base, ram_end = vm.ram
    memory = [{"base": ram_base, "size": ram_end - ram_base}]
    if vm.steal_time is not None:
        memory.append({"base": vm.steal_time, "size": STEAL_TIME_SLOT_SIZE})
    vcpus = [
        {"mpidr": mpidr_text(mpidr_of_id(number)), "pmu_irq": vm.pmu_irq}
        for number in range(vm.vcpus)
    ]
    return {
        "ipa_bits": vm.ipa_bits,
        "memory": memory,
        "vcpus": vcpus,
        "gic": _gic_data(vm),
        "steal_time": None if vm.steal_time is None else {"base": vm.steal_time},
        "features": list(vm.features),
        "sve": {"vector_lengths": list(vm.vector_lengths)} if vm.vector_lengths else None,
    }


def _gic_data(vm: Vm) -> dict[str, Any] | None:
    """Return the GIC of a description; None if the host decides it."""
    if vm.gic_version is None:
        return None
    gic: dict[str, Any] = {
        "version": vm.gic_version,
        "nr_irqs": NR_IRQS.value,
        "distributor": DISTRIBUTOR.value,
    }
    if vm.gic_version == 2:
        return {**gic, "cpu_interface": CPU_INTERFACE.value}
    regions = [{"base": base, "count": count} for base, count in vm.redistributors]
    return {**gic, "redistributors": regions, "its": list(vm.its)}


# The options for a description --------------------------------------------------------------------


def options_for(machine: Machine) -> Options:
    """Return the options whose VM is nearest to `machine`.

    Only what the description sets is given, and what QEMU would otherwise add to it is disabled.
    """
    is_32_bit = "el1_32bit" in machine.features
    has_sve = "sve" in machine.features
    options = Options(
        name=machine.name,
        vcpus=len(machine.vcpus),
        memory=ram_size(machine),
        gic_version=machine.gic_version(),
        its=_its_for(machine),
        pmu=machine.has_pmu(),
        # With a 32-bit EL1, QEMU does not start with steal time, or with SVE of the host.
        steal_time=machine.steal_time is not None and not is_32_bit,
        sve=False if is_32_bit else has_sve or None,
        vector_lengths=() if is_32_bit or not has_sve else machine.sve.vector_lengths,
        ptrauth=False if is_32_bit else "ptrauth" in machine.features or None,
        aarch64=False if is_32_bit else None,
    )
    if machine.has_default_ipa_bits or machine.ipa_bits != LOW_IPA_BITS.value:
        return options
    return options._replace(high=HighRanges(is_used=False))


def _its_for(machine: Machine) -> bool | None:
    """Return whether to create an ITS; None if the description leaves it open."""
    if machine.gic is None or machine.gic.version != 3:
        return None
    return True if machine.gic.its else (False if machine.sets_up_gic() else None)


def ram_size(machine: Machine) -> int | None:
    """Return the size of the RAM for `machine` in bytes; None if its description has none."""
    sizes = [machine.memory[index].size for index in ram_slots(machine)]
    return sum(sizes) or None


def ram_slots(machine: Machine) -> list[int]:
    """Return the indices of the memory slots that are RAM: writable, and not for steal time."""
    return [
        index
        for index, slot in enumerate(machine.memory)
        if not slot.readonly and not _is_for_steal_time(machine, slot.addresses)
    ]


def _is_for_steal_time(machine: Machine, addresses: Extent) -> bool:
    """Return whether a memory slot has steal time, and is not in the RAM of QEMU."""
    from vmcfg.vm.frames import steal_time_addresses

    steal_time = steal_time_addresses(machine)
    first, end = addresses
    if steal_time is None or first >= RAM.value:
        return False
    return first < steal_time.stop and steal_time.start < end
