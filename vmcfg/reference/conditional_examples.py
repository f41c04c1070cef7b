"""The examples of rules that a description breaks only on some hosts, or with some options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vmcfg.checking.check import check, with_findings
from vmcfg.checking.defaults import defaults_in
from vmcfg.checking.shared_names import with_duplicate_name
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.finding import Found
from vmcfg.formats.unresolved import unresolved_diagnostics
from vmcfg.guest.rules import findings_for_guest
from vmcfg.kernel.abi import INTERRUPT_DEVICES, PVTIME_IPA
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.host import Host, HostPmu, HostRegister
from vmcfg.monitors.libvirt_rules import findings_for_libvirt
from vmcfg.monitors.rules import findings_for_qemu
from vmcfg.plans.apis import PMU_DEVICE
from vmcfg.plans.lowering import lower
from vmcfg.reference.vmm_examples import LIBVIRT_EXAMPLES, QEMU_EXAMPLES
from vmcfg.rules.apis import unsupported
from vmcfg.rules.state import findings_for_state
from vmcfg.text.tree import Tree
from vmcfg.vm.machine import Machine

FILE = "vm.yaml"

HEAD = "vmcfg: 1\nname: vm\nvcpus: 2\n"

HOST = Host(
    name="host.json",
    kernel=(6, 18),
    capabilities=dict.fromkeys(CAPABILITIES, 1)
    | {"KVM_CAP_ARM_VM_IPA_SIZE": 48, "KVM_CAP_MAX_VCPUS": 512},
    devices=frozenset(INTERRUPT_DEVICES),
    lacking=frozenset(),
    pmus=(HostPmu("armv8_pmuv3_0", 10, "0-7"),),
)
"""A host that supports everything."""


class ConditionalExample(NamedTuple):
    """A description that breaks a rule under a `condition`; `found` are the findings of a check."""

    condition: str
    text: str
    found: Callable[[bytes], list[Diagnostic]]

    def findings(self, rule_id: str) -> list[Diagnostic]:
        """Return the findings of the rule in the description."""
        return [each for each in self.found(self.text.encode()) if each.rule == rule_id]


def _on(host: Host) -> Callable[[bytes], list[Diagnostic]]:
    """Return the function that checks a description for a host."""
    return lambda text: check(text, FILE, hosts=(host,)).diagnostics


def _without(capability: str) -> Callable[[bytes], list[Diagnostic]]:
    """Return the function that checks a description for a host without a capability."""
    return _on(HOST._replace(capabilities=HOST.capabilities | {capability: 0}))


def _written_as_c(text: bytes) -> list[Diagnostic]:
    checked = check(text, FILE)
    assert checked.machine is not None
    return unresolved_diagnostics(lower(checked.machine), checked.tree, "--format c")


def _after_the_same_name(text: bytes) -> list[Diagnostic]:
    first = Tree("other.yaml", text)
    return with_duplicate_name(check(text, FILE), first).diagnostics


def _with(found: Callable[[Machine], Iterator[Found]]) -> Callable[[bytes], list[Diagnostic]]:
    """Return the function that checks a description with more rules over its machine."""

    def diagnostics(text: bytes) -> list[Diagnostic]:
        checked = check(text, FILE)
        assert checked.machine is not None
        return with_findings(checked, found(checked.machine)).diagnostics

    return diagnostics


def _unsupported_by_the_pmu_device(machine: Machine) -> Iterator[Found]:
    return unsupported(machine, PMU_DEVICE)


_STEAL_TIME = "memory: [{base: 0x90a0000, size: 64KiB}]\nsteal_time: {base: 0x90a0000}\n"

CONDITIONAL_EXAMPLES = {
    "VMC112": ConditionalExample(
        "in the file of '--defaults'",
        "vmcfg: 1\nname: edge-gateway\npmu: {irq: 23}\n",
        lambda text: defaults_in(text, FILE).diagnostics,
    ),
    "VMC705": ConditionalExample(
        "with 'vmcfg emit --format c' and without '--host'",
        HEAD + "pmu: {irq: 23, device: armv8_pmuv3_0}\n",
        _written_as_c,
    ),
    "VMC711": ConditionalExample(
        "for a host without scheduler statistics",
        HEAD + _STEAL_TIME,
        _on(HOST._replace(lacking=frozenset({("vcpu", PVTIME_IPA.group, PVTIME_IPA.name)}))),
    ),
    "VMC712": ConditionalExample(
        "for a host whose KVM_CAP_ARM_VM_IPA_SIZE is 40",
        HEAD + "ipa_bits: 44\n",
        _on(HOST._replace(capabilities=HOST.capabilities | {"KVM_CAP_ARM_VM_IPA_SIZE": 40})),
    ),
    "VMC713": ConditionalExample(
        "for a host that supports only GICv3",
        HEAD + "gic: {version: 2, set_up_by: monitor}\n",
        _on(HOST._replace(devices=frozenset({"KVM_DEV_TYPE_ARM_VGIC_V3"}))),
    ),
    "VMC714": ConditionalExample(
        "for a host whose KVM_CAP_MAX_VCPUS is 8",
        HEAD.replace("2", "16"),
        _on(HOST._replace(capabilities=HOST.capabilities | {"KVM_CAP_MAX_VCPUS": 8})),
    ),
    "VMC715": ConditionalExample(
        "for a host without SVE", HEAD + "features: [sve]\n", _without("KVM_CAP_ARM_SVE")
    ),
    "VMC716": ConditionalExample(
        "for a host without a PMU for guests",
        HEAD + "pmu: {irq: 23}\n",
        _without("KVM_CAP_ARM_PMU_V3"),
    ),
    "VMC717": ConditionalExample(
        "for a host with the PMU 'armv8_pmuv3_0'",
        HEAD + "pmu: {irq: 23, device: armv8_cortex_a76}\n",
        _on(HOST),
    ),
    "VMC718": ConditionalExample(
        "for a host with two PMUs",
        HEAD + "pmu: {irq: 23}\n",
        _on(
            HOST._replace(
                pmus=(HostPmu("armv8_pmuv3_0", 10, "0-3"), HostPmu("armv8_pmuv3_1", 11, "4-7"))
            )
        ),
    ),
    "VMC719": ConditionalExample(
        "for a host with 64 KiB pages",
        HEAD + "memory: [{base: 0x40001000, size: 1GiB}]\n",
        _on(HOST._replace(page_size=0x10000)),
    ),
    "VMC720": ConditionalExample(
        "for a host PMU with 6 event counters",
        HEAD + "pmu: {irq: 23, device: armv8_pmuv3_0, counters: 10}\n",
        _on(HOST._replace(event_counters=6)),
    ),
    "VMC721": ConditionalExample(
        "for a host with blocks of 4 KiB, 2 MiB, and 1 GiB",
        HEAD
        + "capabilities:\n"
        + "  - {name: KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE, args: [0x2000000]}\n",
        _on(
            HOST._replace(
                capabilities=HOST.capabilities | {"KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES": 0x40201000}
            )
        ),
    ),
    "VMC722": ConditionalExample(
        "for a host with vectors of 128 and 256 bits",
        HEAD + "features: [sve]\nsve: {vector_lengths: [128, 256, 512]}\n",
        _on(HOST._replace(sve_vector_lengths=(128, 256))),
    ),
    "VMC723": ConditionalExample(
        "for a host with Linux 6.18",
        'vmcfg: 1\nname: vm\nhost_kernel: "7.2"\nvcpus: 2\n',
        _on(HOST),
    ),
    "VMC724": ConditionalExample(
        "after another file with the same name", HEAD, _after_the_same_name
    ),
    "VMC725": ConditionalExample(
        "for a host without large atomic instructions",
        HEAD + 'host_kernel: "6.7"\n' + "registers: [{name: ID_AA64ISAR0_EL1, value: 0x210000}]\n",
        _on(HOST._replace(registers={"ID_AA64ISAR0_EL1": HostRegister(0x10000, 0xFFFFFFF0)})),
    ),
    "VMC801": ConditionalExample(
        "with 'vmcfg emit --api pmu-device'",
        HEAD + "pmu: {irq: 23, filter: [{action: deny, events: 0x11}]}\n",
        _with(_unsupported_by_the_pmu_device),
    ),
    **{
        rule: ConditionalExample("with 'vmcfg emit --format qemu'", text, _with(findings_for_qemu))
        for rule, text in QEMU_EXAMPLES.items()
    },
    **{
        rule: ConditionalExample(
            "with 'vmcfg emit --format libvirt'", text, _with(findings_for_libvirt)
        )
        for rule, text in LIBVIRT_EXAMPLES.items()
    },
    "VMC850": ConditionalExample(
        "with 'vmcfg emit --format dts'",
        HEAD + "gic: {version: 3, set_up_by: monitor}\n",
        _with(findings_for_guest),
    ),
    "VMC858": ConditionalExample(
        "with 'vmcfg emit --scope state'",
        HEAD + "gic: {version: 3, set_up_by: monitor}\n",
        _with(findings_for_state),
    ),
    "VMC859": ConditionalExample(
        "with 'vmcfg emit --scope state'",
        HEAD
        + 'host_kernel: "6.16"\nfeatures: [el2]\n'
        + "gic: {version: 3, distributor: 0x08000000, redistributors: 0x080a0000}\n",
        _with(findings_for_state),
    ),
}
"""The examples by rule. What only a kernel can find (VMC9xx) has no example, and VMC415 has none
because it would list hundreds of addresses.
"""
