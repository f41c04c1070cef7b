"""A second compiler of descriptions, with yaml.safe_load and without the tables of vmcfg: the
expected plan.

It shares no code with vmcfg on purpose, so that vmcfg does not check itself.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import yaml

KIB = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
FEATURES = {
    "el1_32bit": "EL1_32BIT",
    "PSCI": "PSCI_0_2",
    "PMU": "PMU_V3",
    "sve": "SVE",
    "ptrauth": "PTRAUTH_ADDRESS,PTRAUTH_GENERIC",
    "el2": "HAS_EL2",
    "e2h0": "HAS_EL2_E2H0",
    "strict": "PMU_V3_STRICT",
}
"""In the order of their bits."""
PER_VCPU = ("CLIDR_EL1",)
SMCCC = {"handle": 0, "deny": 1, "forward": 2}
FUNCTIONS = {"PSCI_0_2_FN_MIGRATE": 0x84000005, "ARM_SMCCC_TRNG_RND64": 0xC4000053}
TIMERS = (("virtual", "V"), ("physical", "P"), ("hyp_virtual", "HV"), ("hyp_physical", "HP"))


def number(value: Any) -> int:
    """Return a number, a size, or an address."""
    if isinstance(value, int):
        return value
    for unit, shift in KIB.items():
        if value.endswith(unit):
            return int(value[: -len(unit)]) << shift
    return int(value, 0)


def intids(value: Any) -> list[int]:
    """Return the INTIDs of an interrupt or a range as written."""
    kind, _, rest = str(value).rpartition(":")
    base = {"": 0, "ppi": 16, "spi": 32}[kind]
    first, _, last = rest.partition("-")
    return list(range(base + int(first, 0), base + int(last or first, 0) + 1))


def mpidrs(value: Any) -> list[tuple[int, ...]]:
    """Return the MPIDRs of an MPIDR or a range as written, each as (Aff3, Aff2, Aff1, Aff0)."""
    fields = []
    for field in value.split("."):
        first, _, last = field.partition("-")
        fields.append(range(int(first), int(last or first) + 1))
    return list(product(*fields))


def of_id(number: int) -> tuple[int, ...]:
    """Return the MPIDR that KVM assigns to a vCPU id."""
    return 0, number >> 12 & 255, number >> 4 & 255, number & 15


def vcpus(document: dict[str, Any]) -> list[tuple[int, tuple[int, ...], int | None, bool]]:
    """Return the id, MPIDR, PMU interrupt, and boot flag of each vCPU, by ascending id."""
    shared = document.get("pmu", {}).get("irq")
    pool = [] if shared is None else intids(shared)
    found: list[tuple[tuple[int, ...], int | None]] = []
    entries = document["vcpus"]
    if not isinstance(entries, list):
        entries = [{"mpidr": ".".join(map(str, of_id(each)))} for each in range(number(entries))]
    dealt = 0
    for entry in entries:
        own = entry.get("pmu_irq")
        for place, mpidr in enumerate(mpidrs(entry["mpidr"])):
            irq = None
            if own is not None:
                numbers = intids(own)
                irq = numbers[place if len(numbers) > 1 else 0]
            elif pool:
                irq = pool[dealt if len(pool) > 1 else 0]
                dealt += 1
            found.append((mpidr, irq))
    ids: list[int | None] = [None] * len(found)
    if document.get("vcpu_ids", "derived") == "derived":
        most = len(found) if document.get("gic", {}).get("version") == 2 else 512
        natural = {of_id(each): each for each in range(most)}
        for place, (mpidr, _) in enumerate(found):
            if natural.get(mpidr) is not None and natural[mpidr] not in ids:
                ids[place] = natural[mpidr]
    if document.get("vcpu_ids") == "mpidr":
        as_ids = [
            (register(mpidr) & 0xFFFFFF | mpidr[0] << 24, mpidr, irq, place == 0)
            for place, (mpidr, irq) in enumerate(found)
        ]
        return sorted(as_ids, key=lambda vcpu: vcpu[0])
    free = iter(sorted(set(range(512)) - set(ids)))
    return sorted(
        (next(free) if each is None else each, *found[place], place == 0)
        for place, each in enumerate(ids)
    )


def register(mpidr: tuple[int, ...]) -> int:
    """Return the value of MPIDR_EL1."""
    aff3, aff2, aff1, aff0 = mpidr
    return aff3 << 32 | 1 << 31 | aff2 << 16 | aff1 << 8 | aff0


def vm_lines(document: dict[str, Any]) -> list[str]:
    """Return the lines that create the VM, enable its capabilities, and add its memory."""
    lines = [f"create-vm vm - - u64 {number(document.get('ipa_bits', 40)):#x}"]
    lines += ["enable-cap vm - KVM_CAP_ARM_MTE args -"] * ("mte" in document.get("features", []))
    for each in document.get("capabilities", []):
        args = ",".join(f"{number(arg):#x}" for arg in each.get("args", []))
        lines.append(f"enable-cap vm - {each['name']} args {args or '-'}")
    for slot, each in enumerate(document.get("memory", [])):
        base, size = number(each["base"]), number(each["size"])
        flags = ",flags=0x2" if each.get("readonly") else ""
        lines.append(f"add-memory vm - - memory slot={slot},base={base:#x},size={size:#x}{flags}")
    return lines


def plan(text: bytes) -> list[str]:
    """Return the lines of the plan of the whole VM."""
    document = yaml.safe_load(text)
    gic = (
        document.get("gic") if document.get("gic", {}).get("set_up_by", "plan") == "plan" else None
    )
    all_vcpus = vcpus(document)
    lines = vm_lines(document)
    lines += [f"create-vcpu vcpu:{id} - - u64 {id:#x}" for id, _, _, _ in all_vcpus]
    if gic:
        version, type_ = {2: (2, 5), 3: (3, 7)}[gic["version"]]
        lines.append(f"create-device gic - KVM_DEV_TYPE_ARM_VGIC_V{version} u32 {type_}")
        its = gic.get("its", [])
        all_its = list(enumerate(map(number, its if isinstance(its, list) else [its])))
        lines += [
            f"create-device its:{index} - KVM_DEV_TYPE_ARM_VGIC_ITS u32 8" for index, _ in all_its
        ]
    written = document.get("features", [])
    strict = ["strict"] * document.get("pmu", {}).get("strict", False)
    for id, _, irq, boot in all_vcpus:
        has = [*written, *strict, "PSCI", *["PMU"] * (irq is not None)]
        features = ["POWER_OFF"] * (not boot) + [FEATURES[each] for each in FEATURES if each in has]
        lines.append(f"init-vcpu vcpu:{id} - - features {','.join(features)}")
    written_lengths = set(document.get("sve", {}).get("vector_lengths", []))
    lengths = sum(1 << bits // 128 - 1 for bits in written_lengths if bits % 128 == 0)
    if lengths:
        lines += [
            f"set-reg vcpu:{id} - KVM_REG_ARM64_SVE_VLS u512 {lengths:#x}"
            for id, _, _, _ in all_vcpus
        ]
    lines += [f"finalize-vcpu vcpu:{id} - - s32 4" for id, _, _, _ in all_vcpus if "sve" in written]
    lines += [
        f"set-reg vcpu:{id} - MPIDR_EL1 u64 {register(mpidr):#x}"
        for id, mpidr, _, _ in all_vcpus
        if mpidr != of_id(id)
    ]
    for each in document.get("registers", []):
        some = all_vcpus if each["name"] in PER_VCPU else all_vcpus[:1]
        value = number(each["value"])
        lines += [f"set-reg vcpu:{id} - {each['name']} u64 {value:#x}" for id, _, _, _ in some]
    for each in document.get("smccc_filter", []):
        base, count = FUNCTIONS.get(each["base"]), number(each["count"])
        if base is None:
            base = number(each["base"])
        what = f"base={base:#x},nr_functions={count},action={SMCCC[each['action']]}"
        lines.append(
            f"set-attr vm KVM_ARM_VM_SMCCC_CTRL KVM_ARM_VM_SMCCC_FILTER kvm_smccc_filter {what}"
        )
    if gic:
        lines += gic_lines(gic, len(all_vcpus))
        address = "KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_ITS_ADDR_TYPE u64"
        lines += [f"set-attr its:{index} {address} {base:#x}" for index, base in all_its]
        lines += [
            f"set-attr its:{index} KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT none -"
            for index, _ in all_its
        ]
    first = all_vcpus[0][0]
    for key, name in TIMERS:
        if key in document.get("timers", {}):
            (irq,) = intids(document["timers"][key])
            lines.append(
                f"set-attr vcpu:{first} KVM_ARM_VCPU_TIMER_CTRL "
                f"KVM_ARM_VCPU_TIMER_IRQ_{name}TIMER s32 {irq}"
            )
    pmu = "KVM_ARM_VCPU_PMU_V3_CTRL KVM_ARM_VCPU_PMU_V3"
    lines += [
        f"set-attr vcpu:{first} {pmu}_{what}" for what in pmu_settings(document.get("pmu", {}))
    ]
    lines += [
        f"set-attr vcpu:{id} {pmu}_IRQ s32 {irq}" for id, _, irq, _ in all_vcpus if irq is not None
    ]
    if gic:
        lines.append("set-attr gic KVM_DEV_ARM_VGIC_GRP_CTRL KVM_DEV_ARM_VGIC_CTRL_INIT none -")
    lines += [
        f"set-attr vcpu:{id} {pmu}_INIT none -" for id, _, irq, _ in all_vcpus if irq is not None
    ]
    if "steal_time" in document:
        steal_time = document["steal_time"]
        base = number(steal_time["base"] if isinstance(steal_time, dict) else steal_time)
        for index, (id, _, _, _) in enumerate(all_vcpus):
            lines.append(
                f"set-attr vcpu:{id} KVM_ARM_VCPU_PVTIME_CTRL KVM_ARM_VCPU_PVTIME_IPA u64 "
                f"{base + 64 * index:#x}"
            )
    return lines


def pmu_settings(pmu: dict[str, Any]) -> list[str]:
    """Return the settings of the PMU that exist once: device, number of counters, filters."""
    told = []
    if "device" in pmu:
        told.append(f"SET_PMU s32 pmu:{pmu['device']}")
    if "counters" in pmu:
        told.append(f"SET_NR_COUNTERS u32 {number(pmu['counters'])}")
    for each in pmu.get("filter", []):
        first, _, last = str(each["events"]).partition("-")
        low, high = int(first, 0), int(last or first, 0)
        parts = [(low, high - low + 1)] if high - low < 0xFFFF else [(0, 0x8000), (0x8000, 0x8000)]
        action = {"allow": 0, "deny": 1}[each["action"]]
        for base, count in parts:
            told.append(
                f"FILTER kvm_pmu_event_filter base_event={base:#x},nevents={count},action={action}"
            )
    return told


def gic_lines(gic: dict[str, Any], count: int) -> list[str]:
    """Return the lines of the attributes of a GIC, up to its initialization."""
    lines = []
    if "nr_irqs" in gic:
        lines.append(f"set-attr gic KVM_DEV_ARM_VGIC_GRP_NR_IRQS 0x0 u32 {gic['nr_irqs']}")
    last = []
    if "maintenance_irq" in gic:
        (irq,) = intids(gic["maintenance_irq"])
        last.append(f"set-attr gic KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ 0x0 u32 {irq}")
    address = "set-attr gic KVM_DEV_ARM_VGIC_GRP_ADDR KVM_VGIC_V{}_ADDR_TYPE_{} u64 {:#x}"
    if "distributor" in gic:
        lines.append(address.format(gic["version"], "DIST", number(gic["distributor"])))
    if "cpu_interface" in gic:
        lines.append(address.format(2, "CPU", number(gic["cpu_interface"])))
    redistributors = gic.get("redistributors", [])
    if not isinstance(redistributors, list):
        return [*lines, address.format(3, "REDIST", number(redistributors)), *last]
    left = count
    for index, region in enumerate(redistributors):
        room = region.get("count", max(left, 1))
        left -= room
        lines.append(
            address.format(3, "REDIST_REGION", room << 52 | number(region["base"]) | index)
        )
    return lines + last
