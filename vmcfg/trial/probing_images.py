"""The host file of a kernel image: the questions of `vmcfg.kernel.probing`, answered in a guest.

The questions depend on answers: no host without SVE is asked for vector lengths. So the first boot
answers those of a host that supports everything. What this kernel is asked otherwise is answered
in another boot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from vmcfg.kernel import abi
from vmcfg.kernel.ioctls import Kvm, NoKvm, Vm
from vmcfg.kernel.probing import Machine, probed
from vmcfg.trial.boot import Guest, answers_in
from vmcfg.trial.plan_lines import Answers, errno_of

Asked = tuple[str, ...]
"""The questions to a VM, from its creation: lines for the performer. The last one is meant."""

Known = dict[Asked, "int | bytes"]
"""The answer to the last question of each: an errno, or bytes, which are empty without a value."""

MOST_BOOTS = 4
"""The maximum number of boots. A GICv3 needs one, a GICv2 two."""

_RESULT = 8
"""The size of the result of an ioctl in bytes."""


def probed_image(guest: Guest, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the host file of a kernel image. Raises `NoKvm` if it does not boot or has no KVM.

    `attributes` are those of `vmcfg.kernel.probing.probed_host`.
    """
    known: Known = {}
    machine = Machine(guest.image.release, "aarch64", 0, {})
    for boots in range(MOST_BOOTS + 1):
        questions = _Questions(known)
        try:
            host = probed(_AskedKvm(questions), machine, attributes)
        except OSError as error:
            raise NoKvm(
                f"KVM of this kernel cannot be probed: a call fails with {error.strerror}"
            ) from None
        open_ones = questions.open_ones()
        if not open_ones:
            return host
        if boots == MOST_BOOTS:
            break
        plans = [_plan(number, asked) for number, asked in enumerate(open_ones)]
        said = answers_in(guest, plans)
        pmus = {name: said.pmus[name] for name in sorted(said.pmus)}
        machine = Machine(said.release, "aarch64", said.page_size, pmus)
        for number, asked in enumerate(open_ones):
            known.update(_answered(asked, said.plans[number]))
    raise NoKvm("the guest did not answer all questions")


def _plan(number: int, asked: Asked) -> str:
    return "".join(f"{line}\n" for line in (f"plan {number} 0 0", *asked, "end"))


def _answered(asked: Asked, answers: Answers) -> Iterator[tuple[Asked, int | bytes]]:
    """Return the answer to each question of a VM that was executed."""
    if answers.without_pmu:
        return
    for line in range(len(asked)):
        if line in answers.missed:
            return
        yield asked[: line + 1], answers.failed.get(line, answers.got.get(line, b""))


class _Questions:
    """Questions to VMs. Those without a known answer are assumed to have a positive one."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._vms: list[list[str]] = []
        self._open: set[int] = set()

    def begin(self) -> int:
        """Return the number of another VM."""
        self._vms.append([])
        return len(self._vms) - 1

    def answer(self, number: int, line: str, assumed: bytes) -> bytes:
        """Return the answer to a question to VM `number`. Raises `OSError` if it is an errno."""
        asked = self._vms[number]
        asked.append(line)
        answer = self._known.get(tuple(asked))
        if answer is None:
            self._open.add(number)
            return assumed
        if isinstance(answer, int):
            raise OSError(answer, errno_of(answer))
        return answer

    def open_ones(self) -> list[Asked]:
        """Return the questions to each VM that has one without a known answer."""
        return list(dict.fromkeys(tuple(self._vms[number]) for number in sorted(self._open)))


class _AskedKvm(Kvm):
    """KVM of a guest, of which is known what was asked."""

    def __init__(self, questions: _Questions) -> None:
        self.questions = questions
        line = f"ask kvm {abi.GET_API_VERSION:#x} 0 0 -"
        self.api_version = _number(questions.answer(questions.begin(), line, _ONE))

    def new_vm(self) -> Vm:
        """Return a VM of the guest."""
        return _AskedVm(self)

    def close(self) -> None:
        """Do nothing: the guest has ended."""


class _AskedVm(Vm):
    """A VM of a guest, of which is known what was asked."""

    def __init__(self, host: _AskedKvm) -> None:
        self._questions = host.questions
        self._vm = self._questions.begin()
        self.descriptors = {}
        self._make("create-vm", "vm", 0)

    def _answer(self, line: str, assumed: bytes = b"") -> bytes:
        return self._questions.answer(self._vm, line, assumed)

    def _make(self, word: str, target: str, number: int) -> None:
        self._answer(f"{word} {target} 0 {number:#x} 0 -")
        self.descriptors[target] = -1

    def close(self) -> None:
        """Do nothing: the guest has ended."""

    def capability(self, number: int) -> int:
        """Return the value of a capability for this VM."""
        return _number(self._answer(f"ask vm {abi.CHECK_EXTENSION:#x} {number:#x} 0 -", _ONE))

    def create_vcpu(self, target: str, vcpu_id: int) -> None:
        """Create a vCPU."""
        self._make("create-vcpu", target, vcpu_id)

    def create_device(self, target: str, type: int) -> None:
        """Create an in-kernel device."""
        self._make("create-device", target, type)

    def init_vcpu(self, target: str, features: int) -> None:
        """Initialize a vCPU with the bits `features`."""
        self._answer(f"init-vcpu {target} 0 {features:#x} 0 -")

    def get_reg(self, target: str, register: int, size: int = 8) -> bytes:
        """Return the `size` bytes of a register of a vCPU."""
        return self._answer(f"get-reg {target} 0 {register:#x} {size} {'00' * size} -", bytes(size))

    def writable_masks(self) -> list[int]:
        """Return the bits that can be written of each feature ID register."""
        size = 8 * abi.FEATURE_ID_MASKS
        masks = self._answer(f"get-masks vm 0 0 {size} {'00' * size} -", bytes(size))
        return [_number(masks[at : at + 8]) for at in range(0, size, 8)]

    def _test_device(self, data: bytes) -> None:
        self._answer(f"ask vm {abi.CREATE_DEVICE:#x} 0 {len(data)} {data.hex()}")

    def _attr(self, request: int, target: str, group: int, attr: int, data: bytes | None) -> bytes:
        argument = struct.pack("<IIQQ", 0, group, attr, 0)
        return self._answer(f"ask {target} {request:#x} 0 {len(argument)} {argument.hex()}")


_ONE = (1).to_bytes(_RESULT, "little")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
