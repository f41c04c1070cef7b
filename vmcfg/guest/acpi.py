"""ACPI tables: what the APIC (MADT) and the GTDT contain of a VM.

Source: ACPI Specification 6.5, sections 5.2.6, 5.2.12, and 5.2.25. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vmcfg.arm.affinity import AFFINITIES, compressed_of_register, mpidr_text
from vmcfg.description.draft import Draft, NoDraft
from vmcfg.description.model import DEFAULT_TIMERS, MAINTENANCE
from vmcfg.escape import excerpt, printable
from vmcfg.guest.intids import NOTE_ABOUT_NR_IRQS, least_nr_irqs
from vmcfg.vm.frames import V3_REDIST_SIZE

BYTES_OF_HEADER = 36
"""The size of the header of every table."""

MOST_ENTRIES = 1024
"""The maximum number of structures of a kind: a description has at most 512 vCPUs."""

GICC, GICD, GICR, ITS = 0xB, 0xC, 0xE, 0xF
"""The structures of an APIC that a description can contain."""

LEAST_BYTES = {GICC: 76, GICD: 24, GICR: 16, ITS: 16}
"""The sizes of these structures; a GICC of ACPI 5.0 has 40 bytes, without an MPIDR."""

ENABLED = 1 << 0
ONLINE_CAPABLE = 1 << 3
"""Flags of a GICC."""

TIMERS = {"virtual": 64, "physical": 56, "hyp_physical": 72, "hyp_virtual": 96}
"""The keys of `timers`, with the offsets of their GSIVs in a GTDT. The last one is there from
revision 3 on.
"""

NOTES = (
    "ACPI tables do not contain the name of the VM, or its memory: see 'name' and 'memory'.",
    "ACPI tables do not contain the ids of the vCPUs: see 'vcpu_ids'.",
    "ACPI tables do not contain the host kernel, the size of the address space, features, or"
    " settings that only KVM knows: see 'host_kernel', 'ipa_bits', and 'features'.",
)

NOTE_ABOUT_GIC = (
    "ACPI tables do not contain the number of INTIDs, or whether the VMM sets up the GIC: see"
    " 'gic.nr_irqs' and 'gic.set_up_by'."
)


class _Cpu(NamedTuple):
    """A GICC structure of an enabled CPU. An address or interrupt of 0 is not there."""

    mpidr: int
    pmu_irq: int
    cpu_interface: int
    redistributor: int
    maintenance_irq: int


def draft_of_tables(tables: Sequence[tuple[str, bytes]]) -> Draft:
    """Return the draft of tables with the names of their files. Raises `NoDraft`."""
    draft = Draft(notes=list(NOTES))
    found: dict[str, bytes] = {}
    for name, data in tables:
        signature, table = _table(printable(name), data, draft)
        if signature not in ("APIC", "GTDT"):
            continue
        if found.setdefault(signature, table) != table:
            raise NoDraft(f"there are two different tables {signature}")
    if "APIC" not in found:
        raise NoDraft("there is no table APIC, which contains the CPUs")
    _read_apic(found["APIC"], draft)
    if "GTDT" in found:
        draft.data["timers"] = _timers(found["GTDT"])
    else:
        draft.note("Without the table GTDT, the timers are not known: see 'timers'.")
    return draft


def _table(name: str, data: bytes, draft: Draft) -> tuple[str, bytes]:
    """Return the signature of a table and its bytes, without those after its end."""
    if len(data) < BYTES_OF_HEADER:
        raise NoDraft(f"{name} is incomplete: it has {len(data)} of {BYTES_OF_HEADER} bytes")
    signature = excerpt(data[:4].decode("ascii", "backslashreplace"))
    length = int.from_bytes(data[4:8], "little")
    if length < BYTES_OF_HEADER:
        raise NoDraft(f"the length of the table {signature} in {name} is invalid: {length}")
    if length > len(data):
        raise NoDraft(f"{name} is incomplete: it has {len(data)} of {length} bytes")
    table = data[:length]
    if sum(table) & 0xFF:
        draft.warn(f"The checksum of the table {signature} is wrong.")
    return signature, table


# APIC ---------------------------------------------------------------------------------------------


def _read_apic(table: bytes, draft: Draft) -> None:
    """Add the vCPUs and the GIC of an APIC to a draft."""
    of_kind: dict[int, list[bytes]] = {GICC: [], GICD: [], GICR: [], ITS: []}
    for kind, structure in _structures(table):
        if kind in of_kind:
            of_kind[kind].append(structure)
            if len(of_kind[kind]) > MOST_ENTRIES:
                raise NoDraft(f"the table APIC has more than {MOST_ENTRIES} structures of a kind")
    cpus = list(_cpus(of_kind[GICC], draft))
    if not cpus:
        raise NoDraft("the table APIC contains no enabled CPU with a GIC")
    draft.data["vcpus"] = [
        {"mpidr": mpidr_text(cpu.mpidr), "pmu_irq": cpu.pmu_irq or None} for cpu in cpus
    ]
    draft.data["gic"] = gic = _gic(cpus, of_kind, draft)
    nr_irqs = least_nr_irqs(cpu.pmu_irq for cpu in cpus)
    if gic is not None and nr_irqs is not None:
        gic["nr_irqs"] = nr_irqs
        draft.note(NOTE_ABOUT_NR_IRQS)


def _structures(table: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the structures of an APIC: the kind and the bytes of each."""
    offset = BYTES_OF_HEADER + 8
    while offset < len(table):
        kind = table[offset]
        length = table[offset + 1] if offset + 1 < len(table) else 0
        least = max(2, LEAST_BYTES.get(kind, 2))
        if length < least or offset + length > len(table):
            raise NoDraft(
                f"the table APIC is damaged: the structure at {offset:#x} has {length} bytes"
            )
        yield kind, table[offset : offset + length]
        offset += length


def _cpus(structures: list[bytes], draft: Draft) -> Iterator[_Cpu]:
    """Yield the enabled CPUs in the order of the table."""
    left_out = 0
    for structure in structures:
        flags, pmu_irq = _u32(structure, 12), _u32(structure, 20)
        if not flags & ENABLED:
            left_out += bool(flags & ONLINE_CAPABLE)
            continue
        mpidr = _u64(structure, 68)
        if mpidr & ~AFFINITIES:
            draft.warn(f"The MPIDR {mpidr:#x} has bits outside the affinities.")
        yield _Cpu(
            compressed_of_register(mpidr & AFFINITIES),
            pmu_irq,
            cpu_interface=_u64(structure, 32),
            redistributor=_u64(structure, 60),
            maintenance_irq=_u32(structure, 56),
        )
    if left_out:
        draft.warn(f"Not imported: CPUs that can be enabled later; the table APIC has {left_out}.")


def _gic(cpus: list[_Cpu], of_kind: dict[int, list[bytes]], draft: Draft) -> dict[str, Any] | None:
    """Return the key `gic`; None without a GIC that a description can contain."""
    distributors = of_kind[GICD]
    if not distributors:
        draft.warn("The table APIC contains no distributor of a GIC.")
        return None
    regions = list(_regions(of_kind[GICR], draft)) or _regions_of_cpus(cpus)
    distributor, version = _u64(distributors[0], 8), distributors[0][20]
    if version > 4:
        draft.warn(
            f"The GIC has version {version}, and a description can contain only a GICv2 or GICv3."
        )
        return None
    draft.note(NOTE_ABOUT_GIC)
    # Version 0: the table does not say it, and software reads it from the hardware.
    if version in (1, 2) or (version == 0 and not regions):
        return {
            "version": 2,
            "distributor": distributor,
            "cpu_interface": cpus[0].cpu_interface or None,
        }
    gic: dict[str, Any] = {"version": 3, "distributor": distributor, "redistributors": regions}
    gic["its"] = [_u64(structure, 8) for structure in of_kind[ITS]]
    if cpus[0].maintenance_irq not in (0, MAINTENANCE):
        gic["maintenance_irq"] = cpus[0].maintenance_irq
    return gic


def _regions(structures: list[bytes], draft: Draft) -> Iterator[dict[str, int]]:
    """Yield the redistributor regions of the GICR structures."""
    for structure in structures:
        base, size = _u64(structure, 4), _u32(structure, 12)
        count, rest = divmod(size, V3_REDIST_SIZE)
        if rest:
            draft.warn(
                f"The redistributor region at {base:#x} has {size:#x} bytes, which is not a"
                f" multiple of {V3_REDIST_SIZE:#x}."
            )
        yield {"base": base, "count": count}


def _regions_of_cpus(cpus: list[_Cpu]) -> list[dict[str, int]]:
    """Return the redistributor regions, if each CPU has its own redistributor."""
    regions: list[dict[str, int]] = []
    for cpu in cpus:
        if not cpu.redistributor:
            return []
        last = regions[-1] if regions else None
        if last and cpu.redistributor == last["base"] + last["count"] * V3_REDIST_SIZE:
            last["count"] += 1
        else:
            regions.append({"base": cpu.redistributor, "count": 1})
    return regions


# GTDT ---------------------------------------------------------------------------------------------


def _timers(table: bytes) -> dict[str, int]:
    """Return the key `timers`: the GSIVs that are not the defaults of KVM."""
    if len(table) < 80:
        raise NoDraft(f"the table GTDT is damaged: it has {len(table)} bytes")
    irqs = {key: _u32(table, offset) for key, offset in TIMERS.items() if offset + 4 <= len(table)}
    if table[8] < 3:
        # Before revision 3, other structures are at the offset of the EL2 virtual timer.
        irqs.pop("hyp_virtual", None)
    return {key: irq for key, irq in irqs.items() if irq not in (0, DEFAULT_TIMERS[key])}


def _u32(data: bytes, offset: int) -> int:
    number: int = struct.unpack_from("<I", data, offset)[0]
    return number


def _u64(data: bytes, offset: int) -> int:
    number: int = struct.unpack_from("<Q", data, offset)[0]
    return number
