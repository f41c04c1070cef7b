"""The description of a VM in a record: what the program told KVM, by the keys of a description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmcfg.arm.affinity import compressed_mpidr, derived_id
from vmcfg.description.draft import Draft
from vmcfg.kernel import abi
from vmcfg.kernel.features import FEATURES, STRICT_PMU, Feature
from vmcfg.kernel.limits import VECTOR_LENGTH_STEP
from vmcfg.kernel.settable_registers import SETTABLE
from vmcfg.kernel.version import version_text
from vmcfg.kernel.vm_capabilities import VM_CAPABILITIES
from vmcfg.monitors.record_file import Record
from vmcfg.monitors.setup import Setup, Told, extent, feature_names, of_record
from vmcfg.vm.frames import STEAL_TIME_SIZE

_TIMERS = {
    "timer.virtual": "virtual",
    "timer.physical": "physical",
    "timer.hyp_virtual": "hyp_virtual",
    "timer.hyp_physical": "hyp_physical",
}
"""The key of each row that sets the PPI of a timer."""

_OF_EVERY_VM = ("PSCI_0_2", "POWER_OFF", "PMU_V3")
"""The features that no key sets by its name."""


def draft_of_record(record: Record, all_registers: bool = False, vm: int | None = None) -> Draft:
    """Return what a program told one VM: `vm`, or that with the most vCPUs.

    ID registers, firmware registers, and capabilities are in it only with `all_registers`;
    otherwise a note counts them. Raises `NoFile` if the record has no such VM.
    """
    setup = of_record(record, record.chosen_vm(vm))
    return _Drafting(record, setup, all_registers).draft()


class _Drafting:
    """The draft of one VM, in work."""

    def __init__(self, record: Record, setup: Setup, all_registers: bool) -> None:
        self._record = record
        self._setup = setup
        self._all = all_registers
        self._draft = Draft()
        self._vcpus = _vcpus(setup)
        """The vCPUs by ascending id: the id, and the dotted MPIDR."""

    def draft(self) -> Draft:
        """Return the draft."""
        data = self._draft.data
        data["host_kernel"] = version_text(self._record.kernel)
        data["ipa_bits"] = self._ipa_bits()
        data["memory"] = [_slot(told) for told in sorted(self._setup.memory, key=extent)]
        data["vcpus"] = self._vcpu_entries()
        data["vcpu_ids"] = self._vcpu_ids()
        data["features"] = self._features()
        data["gic"] = self._gic()
        data["pmu"] = self._pmu()
        data["timers"] = {
            key: _number(told) for row, key in _TIMERS.items() for told in self._of(row)
        }
        data["steal_time"] = self._steal_time()
        data["smccc_filter"] = [_smccc(told) for told in self._of("vm.smccc_filter")]
        data["sve"] = self._vector_lengths()
        self._registers()
        self._capabilities()
        self._unknown()
        return self._draft

    def _of(self, row: str) -> list[Told]:
        """Return the settings of one row."""
        return [told for told in self._setup.settings.values() if told.row_name == row]

    def _warn(self, sentence: str) -> None:
        self._draft.warnings.append(sentence)

    def _note(self, sentence: str) -> None:
        self._draft.notes.append(sentence)

    # vCPUs ------------------------------------------------------------------------------------

    def _ipa_bits(self) -> int | None:
        for told in self._of("vm.create"):
            word = int(told.compared, 16)
            if word >> 8:
                self._warn(f"The type of the VM is {word:#x}, of which only the address bits fit.")
            return word & 0xFF
        return None

    def _vcpu_entries(self) -> list[dict[str, Any]]:
        """Return the vCPUs: first the boot vCPU, then by ascending id."""
        irqs = {told.mpidr: _number(told) for told in self._of("pmu.irq")}
        initialized = {told.mpidr for told in self._of("pmu.init")}
        for mpidr in irqs:
            if mpidr not in initialized:
                self._warn(f"The PMU of vCPU {mpidr} has an interrupt, but was never initialized.")
        entries: list[dict[str, Any]] = []
        for _, mpidr in self._vcpus:
            entry: dict[str, Any] = {"mpidr": mpidr}
            if irqs.get(mpidr) is not None:
                entry["pmu_irq"] = irqs[mpidr]
            entries.append(entry)
        boot = self._boot_vcpu()
        entries.sort(key=lambda entry: entry["mpidr"] != boot)
        return entries

    def _boot_vcpu(self) -> str | None:
        """Return the MPIDR of the first vCPU that does not wait for the guest to start it."""
        waiting = {
            told.mpidr for told in self._of("vcpu.init") if "POWER_OFF" in feature_names(told)
        }
        return next((mpidr for _, mpidr in self._vcpus if mpidr not in waiting), None)

    def _vcpu_ids(self) -> str | None:
        """Return how the ids follow from the MPIDRs; None if as by default."""
        ids = [id for id, _ in self._vcpus]
        if self._setup.vcpus != [mpidr for _, mpidr in self._vcpus]:
            self._warn("The vCPUs were not created in the order of their ids.")
        if ids == _derived_ids(mpidr for _, mpidr in self._vcpus):
            return None
        if ids == list(range(len(ids))):
            return "sequential"
        self._warn(f"The ids of the vCPUs cannot be described: {', '.join(map(str, ids))}.")
        return None

    def _features(self) -> list[str]:
        names = [set(feature_names(told)) - {"POWER_OFF"} for told in self._of("vcpu.init")]
        if not names:
            self._warn("No vCPU was initialized.")
            return []
        common = set.intersection(*names)
        mixed = sorted(set.union(*names) - common - {"PMU_V3"})
        if mixed:
            self._warn(f"Only some vCPUs have these features: {', '.join(mixed)}.")
        if "PSCI_0_2" not in common:
            self._warn("The vCPUs do not have PSCI 0.2, which a description always has.")
        self._check_pmu(names)
        known = set(_OF_EVERY_VM) | set(STRICT_PMU.bits)
        found = []
        for feature in FEATURES.values():
            known |= set(feature.bits)
            if feature.bits and set(feature.bits) <= common:
                found.append(feature.word)
            elif set(feature.bits) & common:
                self._warn(f"The vCPUs have only a part of the feature '{feature.word}'.")
            elif feature.enabled is not None and self._has_enabled(feature):
                found.append(feature.word)
        for name in sorted(common - known):
            self._warn(f"The feature {name} cannot be described.")
        return found

    def _has_enabled(self, feature: Feature) -> bool:
        return any(told.attr == feature.enabled for told in self._of("vm.feature"))

    def _check_pmu(self, names: list[set[str]]) -> None:
        with_pmu = sum("PMU_V3" in each for each in names)
        with_irq = len(self._of("pmu.irq"))
        if with_pmu > with_irq:
            self._warn(f"{with_pmu} vCPUs have a PMU, but only {with_irq} have a PMU interrupt.")

    # The GIC ----------------------------------------------------------------------------------

    def _gic(self) -> dict[str, Any] | None:
        created = self._of("gic.create")
        if not created:
            self._note("The program created no GIC in KVM.")
            return None
        version = {number: version for version, (_, number) in abi.DEVICE_TYPES.items()}.get(
            _number(created[0]) or 0
        )
        if version is None:
            self._warn(f"The GIC is a {created[0].attr}, which cannot be described.")
            return None
        if not self._of("gic.init"):
            self._warn("The GIC was never initialized.")
        gic: dict[str, Any] = {"version": version}
        for key, rows in {
            "nr_irqs": ("gic.nr_irqs",),
            "distributor": ("gic.v3.distributor", "gic.v2.distributor"),
            "cpu_interface": ("gic.v2.cpu_interface",),
            "maintenance_irq": ("gic.maintenance_irq",),
        }.items():
            for row in rows:
                for told in self._of(row):
                    gic[key] = _number(told)
        gic["redistributors"] = self._redistributors()
        gic["its"] = sorted(_number(told) or 0 for told in self._of("its.address"))
        without_address = len(self._of("its.create")) - len(gic["its"])
        if without_address > 0:
            self._warn(f"{without_address} ITSs have no address.")
        return gic

    def _redistributors(self) -> int | list[dict[str, int]] | None:
        regions = []
        for told in sorted(self._setup.redistributors.values(), key=lambda each: each.seq):
            word = _number(told) or 0
            if told.row_name == "gic.v3.redistributors":
                return word
            regions.append({"base": word & 0xFFFFFFFF0000, "count": word >> 52, "at": word & 0xFFF})
        regions.sort(key=lambda region: region["at"])
        for region in regions:
            del region["at"]
        return regions or None

    # The PMU and others -----------------------------------------------------------------------

    def _pmu(self) -> dict[str, Any]:
        pmu: dict[str, Any] = {}
        for told in self._of("pmu.device"):
            if told.compared.startswith("pmu:"):
                pmu["device"] = told.compared.removeprefix("pmu:")
            else:
                self._warn(f"The record does not contain the name of host PMU {told.value}.")
        for told in self._of("pmu.counters"):
            pmu["counters"] = _number(told)
        if self._setup.filters:
            pmu["filter"] = [_filter(told) for told in self._setup.filters]
        strict = [set(STRICT_PMU.bits) <= set(feature_names(t)) for t in self._of("vcpu.init")]
        if any(strict):
            pmu["strict"] = True
        return pmu

    def _steal_time(self) -> dict[str, int] | None:
        addresses = {told.mpidr: _number(told) or 0 for told in self._of("vcpu.steal_time")}
        if not addresses:
            return None
        in_order = [addresses.get(mpidr) for _, mpidr in self._vcpus]
        base = in_order[0]
        if base is None or in_order != [
            base + STEAL_TIME_SIZE * index for index in range(len(in_order))
        ]:
            told = ", ".join(f"{mpidr}: {address:#x}" for mpidr, address in addresses.items())
            self._warn(f"The addresses of the steal time cannot be described ({told}).")
            return None
        return {"base": base}

    def _vector_lengths(self) -> dict[str, Any] | None:
        words = {_number(told) or 0 for told in self._of("vcpu.vector_lengths")}
        if not words:
            return None
        if len(words) > 1:
            self._warn("The vCPUs have different vector lengths.")
        word = max(words)
        lengths = [
            VECTOR_LENGTH_STEP * (bit + 1) for bit in range(word.bit_length()) if word >> bit & 1
        ]
        return {"vector_lengths": lengths}

    # Registers and capabilities ---------------------------------------------------------------

    def _registers(self) -> None:
        told = [each for each in self._setup.settings.values() if each.op == "set-reg"]
        told = [each for each in told if each.row_name != "vcpu.vector_lengths"]
        names = list(dict.fromkeys(each.attr for each in told))
        if not self._all:
            if names:
                self._note(
                    f"The program set {len(names)} ID registers and firmware registers; 'vmcfg"
                    " import --all' adds them."
                )
            return
        entries = []
        unknown = [name for name in names if name not in SETTABLE]
        if unknown:
            self._warn(f"These registers cannot be described: {', '.join(unknown)}.")
        fixed = [name for name in names if name not in unknown and self._is_fixed(name)]
        if fixed:
            self._note(
                f"{len(fixed)} registers are left out, because this kernel accepts only the values"
                f" of its host: {', '.join(fixed)}."
            )
        for name in names:
            if name in unknown or name in fixed:
                continue
            values = {_number(each) for each in told if each.attr == name}
            if len(values) > 1:
                self._warn(f"Register {name} has different values on different vCPUs.")
            else:
                entries.append({"name": name, "value": values.pop()})
        self._draft.data["registers"] = entries

    def _is_fixed(self, name: str) -> bool:
        """Return whether KVM accepts only the value of the host for a register."""
        register = SETTABLE[name]
        enabled = [told.attr for told in self._of("vm.capability")]
        is_locked = register.capability is not None and register.capability not in enabled
        return is_locked or self._record.kernel < register.since

    def _capabilities(self) -> None:
        told = [each for each in self._setup.settings.values() if each.op == "enable-cap"]
        told = [each for each in told if each.row_name != "vm.feature"]
        if not self._all:
            if told:
                self._note(
                    f"The program enabled {len(told)} capabilities; 'vmcfg import --all' adds them."
                )
            return
        entries: list[dict[str, Any]] = []
        for each in told:
            if each.attr not in VM_CAPABILITIES or each.payload is None:
                self._warn(f"Capability {each.attr} cannot be described.")
                continue
            arguments = list(each.payload[1:])
            if VM_CAPABILITIES[each.attr].allowed is not None and not arguments:
                arguments = [0]
            entries.append({"name": each.attr, "args": arguments})
        self._draft.data["capabilities"] = entries

    def _unknown(self) -> None:
        """Warn about what no key sets."""
        for told in self._setup.settings.values():
            if told.row is None and told.op in ("set-attr", "create-device"):
                what = told.attr if told.group == "-" else f"{told.group} {told.attr}"
                self._warn(f"{told.op} {told.target} {what} cannot be described.")


def _vcpus(setup: Setup) -> list[tuple[int, str]]:
    """Return the id and the MPIDR of each vCPU, by ascending id."""
    created = [told for told in setup.settings.values() if told.row_name == "vcpu.create"]
    return sorted((int(told.target.partition(":")[2]), told.mpidr or "") for told in created)


def _derived_ids(mpidrs: Iterable[str]) -> list[int]:
    """Return the ids that a description assigns to vCPUs with these MPIDRs by default."""
    ids: list[int | None] = []
    for dotted in mpidrs:
        id = derived_id(compressed_mpidr(*map(int, dotted.split("."))))
        ids.append(id if id is not None and id < 512 else None)
    free = iter(id for id in range(512) if id not in ids)
    return [next(free) if id is None else id for id in ids]


def _number(told: Told) -> int | None:
    """Return the value if it is one number that could be read."""
    if told.payload is None or len(told.payload) != 1:
        return None
    return told.payload[0]


def _slot(told: Told) -> dict[str, Any]:
    start, end = extent(told)
    slot: dict[str, Any] = {"base": start, "size": end - start}
    if told.payload is not None and told.payload[3] & abi.MEM_READONLY:
        slot["readonly"] = True
    return slot


def _smccc(told: Told) -> dict[str, Any]:
    base, count, action = told.payload or (0, 0, 0)
    return {"action": _word(abi.SMCCC_ACTIONS, action), "base": base, "count": count}


def _filter(told: Told) -> dict[str, Any]:
    first, count, action = told.payload or (0, 0, 0)
    events = hex(first) if count == 1 else f"{first:#x}-{first + count - 1:#x}"
    return {"action": _word(abi.PMU_EVENT_ACTIONS, action), "events": events}


def _word(words: dict[str, int], number: int) -> str:
    return next((word for word, each in words.items() if each == number), str(number))
