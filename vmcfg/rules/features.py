"""VMC311, VMC313-316, and VMC323: the features of vCPUs, and SVE."""

from __future__ import annotations

from collections.abc import Iterator

from vmcfg.findings.finding import Finding
from vmcfg.findings.rule import WARNING, Answer
from vmcfg.kernel.limits import VECTOR_LENGTH_STEP, is_vector_length
from vmcfg.rules.kinds import machine_rule
from vmcfg.rules.repeated import repeated
from vmcfg.vm.machine import Machine

VCPU_INIT = "KVM_ARM_VCPU_INIT"

SET_VECTOR_LENGTHS = "KVM_SET_ONE_REG(KVM_REG_ARM64_SVE_VLS)"

LENGTHS = ("sve", "vector_lengths")


@machine_rule("VMC311", None, WARNING, about="features")
def duplicate_feature(machine: Machine) -> Iterator[Finding]:
    """A feature should be listed only once."""
    for index, earlier in repeated(machine.features):
        message = f"duplicate feature '{machine.features[index]}'"
        related = ((("features", earlier), "first listed here"),)
        yield Finding(("features", index), message, hint="remove one of them", related=related)


@machine_rule("VMC313", Answer(VCPU_INIT, "EINVAL", "set"), about="features")
def incompatible_features(machine: Machine) -> Iterator[Finding]:
    """The feature `el1_32bit` must not be combined with `el2` or `mte`.

    AArch32 has neither nested virtualization nor memory tags.

    Source: arm.c:kvm_vcpu_init_check_features, Linux 7.3; `mte` tested on 6.1 to 7.3."""
    features = machine.features
    if "el1_32bit" not in features:
        return
    for other in ("el2", "mte"):
        if other in features:
            message = f"features 'el1_32bit' and '{other}' cannot be combined"
            at = ("features", features.index(other))
            related = ((("features", features.index("el1_32bit")), "'el1_32bit'"),)
            yield Finding(at, message, hint="remove one of them", related=related)


@machine_rule("VMC314", Answer(VCPU_INIT), about="features")
def e2h0_without_el2(machine: Machine) -> Iterator[Finding]:
    """The feature `e2h0` requires the feature `el2`: it limits EL2 to guests without VHE.

    Without `el2`, KVM accepts it and ignores it.

    Source: nested.c:kvm_vcpu_init_nested, Linux 7.3; tested on 6.16 to 7.3."""
    if "e2h0" in machine.features and not machine.has_el2():
        message = "feature 'e2h0' requires feature 'el2'"
        hint = "add 'el2' to 'features', or remove 'e2h0'"
        yield Finding(("features", machine.features.index("e2h0")), message, hint=hint)


@machine_rule("VMC315", Answer(SET_VECTOR_LENGTHS, "ENOENT", "set"), about="sve.vector_lengths")
def vector_lengths_without_sve(machine: Machine) -> Iterator[Finding]:
    """`sve.vector_lengths` requires the feature `sve`.

    Source: guest.c:set_sve_vls; tested on 6.1 to 7.3."""
    if machine.sve.vector_lengths and "sve" not in machine.features:
        message = "'sve.vector_lengths' requires feature 'sve'"
        yield Finding(LENGTHS, message, hint="add 'sve' to 'features'", on="key")


@machine_rule("VMC323", None, about="sve.vector_lengths")
def invalid_vector_length(machine: Machine) -> Iterator[Finding]:
    """A vector length must be a multiple of 128 bits, and at most 65536.

    KVM_REG_ARM64_SVE_VLS has one bit for each of these lengths, so that no plan can contain
    another."""
    for index, bits in enumerate(machine.sve.vector_lengths):
        if not is_vector_length(bits):
            message = f"a vector length must be a multiple of {VECTOR_LENGTH_STEP} bits, not {bits}"
            hint = f"use a multiple of {VECTOR_LENGTH_STEP} bits"
            if bits in range(16, 257, 16):
                hint = f"if you mean {bits} bytes, write {bits * 8}"
            yield Finding((*LENGTHS, index), message, hint=hint)


@machine_rule("VMC316", Answer(SET_VECTOR_LENGTHS, "EINVAL", "set"), about="sve.vector_lengths")
def incomplete_vector_lengths(machine: Machine) -> Iterator[Finding]:
    """`sve.vector_lengths` must contain every power of two from 128 up to its greatest length.

    Every processor with SVE has these. KVM accepts only the lengths of the host, up to a maximum:
    none in between can be left out. With `--host`, VMC722 compares them with the host.

    Source: guest.c:set_sve_vls; tested on 6.1 to 7.3."""
    lengths = machine.sve.vector_lengths
    is_valid = all(map(is_vector_length, lengths))
    if not lengths or not is_valid or "sve" not in machine.features:
        return
    missing = [length for length in powers_of_two(max(lengths)) if length not in lengths]
    if missing:
        names = " and ".join(map(str, missing))
        message = f"'sve.vector_lengths' goes up to {max(lengths)}, but does not contain {names}"
        yield Finding(LENGTHS, message, hint=f"add {names}: KVM cannot hide single lengths")


def powers_of_two(greatest: int) -> list[int]:
    """Return the lengths that every processor with vectors of `greatest` bits has."""
    lengths = []
    length = VECTOR_LENGTH_STEP
    while length <= greatest:
        lengths.append(length)
        length *= 2
    return lengths


RULES = (
    duplicate_feature,
    incompatible_features,
    e2h0_without_el2,
    vector_lengths_without_sve,
    incomplete_vector_lengths,
    invalid_vector_length,
)
