"""try and probe --image without a boot: images, archives, the console of a guest, and every error.

tests/kvm/test_kernels_boot_images.py boots real kernels.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import stand_in_guest, stand_in_kvm
from tests.conftest import Vmcfg
from tests.stand_in_kvm import StandInKvm
from tests.test_try import DESCRIPTIONS, EVERYTHING
from vmcfg.kernel import abi
from vmcfg.kernel.capabilities import CAPABILITIES
from vmcfg.kernel.ioctls import NoKvm
from vmcfg.trial import boot
from vmcfg.trial.boot import Guest
from vmcfg.trial.compiled import FLAGS, SOURCE, performer
from vmcfg.trial.emulated import APPEND
from vmcfg.trial.initrd import initrd
from vmcfg.trial.kernel_image import kernel_image
from vmcfg.trial.transcript import Garbled, transcript

ROOT = Path(__file__).parent.parent
BANNER = b"Linux version 6.12.7-test (me@here) (gcc 14.2.0, ld 2.43) #1 SMP PREEMPT 2026\n"
IMAGE = b"MZ".ljust(0x38, b"\0") + b"ARM\x64" + BANNER + bytes(64)
"""The head of an uncompressed image, and its version."""


def zboot(payload: bytes, method: bytes) -> bytes:
    """Return an EFI zboot image with this payload."""
    head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    return head.ljust(24, b"\0") + method.ljust(40, b"\0") + payload + b"after"


# Images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        IMAGE,
        gzip.compress(IMAGE),
        zboot(gzip.compress(IMAGE), b"gzip"),
        zboot(lzma.compress(IMAGE), b"xzkern"),
    ],
    ids=["plain", "gzip", "zboot-gzip", "zboot-xz"],
)
def test_an_image_is_unpacked_and_has_a_version(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    image = kernel_image(str(path))
    assert (image.content, image.release) == (IMAGE, "6.12.7")


def test_a_kernel_tree_has_an_image(tmp_path: Path) -> None:
    path = tmp_path / "arch/arm64/boot/Image"
    path.parent.mkdir(parents=True)
    path.write_bytes(IMAGE)
    assert kernel_image(str(tmp_path)).content == IMAGE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: an arm64 image"),
        (bytes(0x202) + b"HdrS", "is a kernel for x86"),
        (b"\x7fELF" + bytes(100), "is an ELF file, such as vmlinux"),
        (b"#!/bin/sh\n", "is not a kernel image"),
        (IMAGE.replace(BANNER, b""), "contains no version of Linux"),
        (gzip.compress(IMAGE)[:10] + b"\xff" * 40, "is damaged: its gzip data"),
        (zboot(b"?", b"lz4"), "is compressed with lz4"),
    ],
    ids=["empty", "x86", "ELF", "script", "no-version", "damaged", "lz4"],
)
def test_what_is_no_image_is_said_so(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NoKvm) as error:
        kernel_image(str(path))
    assert said in str(error.value)


@given(
    content=st.binary(max_size=600),
    start=st.sampled_from([b"", b"\x1f\x8b\x08", b"MZ\0\0zimg"]),
)
def test_any_file_is_an_image_or_is_not(
    content: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + content)
    try:
        assert kernel_image(str(path)).release
    except NoKvm as error:
        assert str(path) in str(error)


# The archive --------------------------------------------------------------------------------------


def files_of(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive, read as the kernel does."""
    at = 0
    found: dict[str, bytes] = {}
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = archive[at : at + size]
        at = (at + size + 3) & ~3


@given(st.binary(max_size=50), st.text("abc 0x-\n", max_size=50))
def test_the_archive_has_its_files(program: bytes, plans: str) -> None:
    found = files_of(initrd(program, plans))
    assert found["init"] == program
    assert found["plans"].decode() == plans
    assert {"dev", "sys", "dev/console", "dev/kvm"} <= set(found)


# The console --------------------------------------------------------------------------------------

GOOD = (
    b"[    0.1] noise\r\nvmcfg:release 6.12.7\r\nvmcfg:version #1 SMP\r\nvmcfg:pmu p 10 0-3\r\n"
    b"vmcfg:plan 0\r\nvmcfg:failed 3 22\r\n[    2.0] noise\r\nvmcfg:end 0 %d\r\nvmcfg:done\r\n"
)


def fnv(data: bytes) -> int:
    total = 0x811C9DC5
    for byte in data:
        total = (total ^ byte) * 0x01000193 % (1 << 32)
    return total


def good() -> bytes:
    return GOOD % fnv(b"vmcfg:failed 3 22\n")


def test_answers_are_read_among_other_lines() -> None:
    said = transcript(good())
    assert said is not None
    assert (said.release, said.is_done, said.pmus["p"].type) == ("6.12.7", True, 10)
    assert said.plans[0].failed == {3: 22}


@given(st.integers(0, len(good()) - 1), st.binary(max_size=8))
def test_a_damaged_answer_is_never_another_answer(at: int, instead: bytes) -> None:
    damaged = good()[:at] + instead + good()[at + max(1, len(instead)) :]
    try:
        said = transcript(damaged)
    except Garbled:
        said = None
    if said is not None and 0 in said.plans:
        assert said.plans[0].failed == {3: 22}


@given(st.lists(st.sampled_from([b"vmcfg:", *good().split(b" "), b"\n", b"9", b"\xff"])))
def test_garbage_is_reported(pieces: list[bytes]) -> None:
    try:
        said = transcript(b"".join(pieces))
    except Garbled as error:
        assert str(error)
    else:
        assert said is None or said.release


# The performer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["aarch64-linux-gnu-gcc", "clang"])
def test_the_performer_compiles_without_warnings(
    compiler: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    target = ["--target=aarch64-linux-gnu", "-fuse-ld=lld"] if compiler == "clang" else []
    warnings = ["-pedantic", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    made = tmp_path / "performer"
    done = subprocess.run(
        [program(compiler), *target, *FLAGS, *warnings, "-o", str(made), str(SOURCE)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert made.read_bytes()[:4] == b"\x7fELF"


def test_the_performer_has_the_numbers_of_kvm_and_of_the_system_calls(
    program: Callable[[str], str],
) -> None:
    text = SOURCE.read_text()
    requests = set(re.findall(r"#define (\w+) ", text)) & set(dir(abi))
    assert {"RUN", "GET_DEVICE_ATTR", "SET_DEVICE_ATTR"} <= requests
    numbers = {name: getattr(abi, name) for name in requests}
    numbers["CAP_ARM_PMU_V3"] = CAPABILITIES["KVM_CAP_ARM_PMU_V3"]
    calls = {f"SYS_{call}": f"__NR_{call.lower()}" for call in re.findall(r"SYS_(\w+) = ", text)}
    assert "SYS_IOCTL" in calls
    source = f'#include "{SOURCE}"\n#include <asm/unistd.h>\n'
    for name, number in (numbers | calls).items():
        source += f'_Static_assert({name} == {number}, "{name}");\n'
    done = subprocess.run(
        [program("aarch64-linux-gnu-gcc"), *FLAGS, "-fsyntax-only", "-x", "c", "-"],
        input=source,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_performer_is_compiled_once(
    program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # A compiler for this machine is not taken.
    monkeypatch.setenv("CC", program("gcc"))
    program("aarch64-linux-gnu-gcc")
    made = performer()
    monkeypatch.setenv("PATH", "")
    assert performer() == made
    assert [path.name.partition("-")[0] for path in (tmp_path / "vmcfg").iterdir()] == ["performer"]


# Errors -------------------------------------------------------------------------------------------


class Bench:
    """vmcfg with a program in place of QEMU, and with its own directory of temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "Image"
        self.image.write_bytes(IMAGE)
        self.vm = str(ROOT / "sample-configs/minimal.yaml")
        for name in ("bin", "tmp", "cache"):
            (folder / name).mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(folder / "tmp"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def qemu(self, script: str) -> None:
        """Put a shell script in the place of QEMU; it writes its process id."""
        path = self.folder / "bin/qemu-system-aarch64"
        path.write_text(f"#!/bin/sh\necho $$ > {self.folder}/pid\n{script}\n")
        path.chmod(0o755)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "vmcfg", "try", "--image", str(self.image), *arguments, self.vm],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        assert self.is_clean()
        return process.returncode, errors

    def is_clean(self) -> bool:
        """Return whether QEMU has ended and no file is left."""
        pid = self.folder / "pid"
        if pid.exists() and Path("/proc", pid.read_text().strip()).exists():
            return False
        return not list((self.folder / "tmp").iterdir())


@pytest.fixture
def bench(program: Callable[[str], str], tmp_path: Path) -> Bench:
    program("aarch64-linux-gnu-gcc")
    return Bench(tmp_path)


START = "printf 'vmcfg:release 6.12.7\\nvmcfg:version #1\\n'"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "vmcfg: the kernel prints nothing on its console ttyAMA0; QEMU ended with"),
        ("echo '-cpu: no such CPU'; exit 1", "QEMU ended with status 1 before the guest did; the"),
        ("echo 'Kernel panic - not syncing: VFS'", "the kernel panics: Kernel panic - not syncin"),
        (f"{START}; echo vmcfg:none 2; echo vmcfg:done", "this kernel has no KVM, or was not boo"),
        (f"{START}; echo vmcfg:done", "the guest executed 0 of 1 plans"),
        (f"{START}; echo vmcfg:what; echo vmcfg:done", "the guest printed an unknown line: 'what'"),
        ("echo vmcfg:done", "the guest did not print its kernel version"),
        (f"{START}; printf 'vmcfg:plan 0\\nvmcfg:end 0 1\\nvmcfg:done\\n'", "plan 0 are damaged"),
    ],
)
def test_a_boot_that_fails_is_one_sentence(script: str, said: str, bench: Bench) -> None:
    bench.qemu(script)
    code, errors = bench.run()
    assert code == 3
    assert said in errors.splitlines()[0]


def test_a_guest_that_hangs_is_ended(bench: Bench) -> None:
    bench.qemu("echo booting; exec sleep 1000")
    code, errors = bench.run("--timeout", "0.5", "--console", str(bench.folder / "console"))
    assert code == 3
    assert errors == (
        "vmcfg: the guest does not finish within 0.5 s (--timeout); the console ends:\n"
        "    booting\n"
    )
    assert (bench.folder / "console").read_bytes() == b"booting\n"


def test_an_endless_console_is_ended(bench: Bench) -> None:
    bench.qemu("exec yes")
    code, errors = bench.run()
    assert code == 3
    assert errors.startswith("vmcfg: the guest prints more than 16 MiB; the console ends:\n")


@pytest.mark.parametrize(
    ("options", "machine", "cpu", "append"),
    [
        ((), "virt,virtualization=on,gic-version=3,mte=on", "max,pauth-impdef=on", ""),
        (
            ("--machine", "gic-version=2", "--cpu", "cortex-a57"),
            "virt,virtualization=on,gic-version=2",
            "cortex-a57",
            "",
        ),
        (
            ("--machine", "virt-9.2,its=off", "--append", "kvm-arm.mode=nvhe quiet"),
            "virt-9.2,virtualization=on,gic-version=3,mte=on,its=off",
            "max,pauth-impdef=on",
            " kvm-arm.mode=nvhe quiet",
        ),
    ],
)
def test_qemu_gets_the_options(
    options: tuple[str, ...], machine: str, cpu: str, append: str, bench: Bench
) -> None:
    bench.qemu(f"printf '%s\\n' \"$@\" > {bench.folder}/arguments; exit 1")
    bench.run(*options)
    arguments = (bench.folder / "arguments").read_text().splitlines()
    settings = dict(pairwise(arguments))
    assert (settings["-M"], settings["-cpu"]) == (machine, cpu)
    assert settings["-append"].removeprefix(APPEND) == append


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_signal_leaves_nothing(number: signal.Signals, bench: Bench) -> None:
    bench.qemu("exec sleep 1000")
    process = bench.start()
    while not (bench.folder / "pid").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (128 + number, "", "")
    assert bench.is_clean()


def test_without_qemu_or_compiler(bench: Bench) -> None:
    bench.environment["PATH"] = str(bench.folder / "bin")
    code, errors = bench.run()
    assert (code, errors.count("\n")) == (3, 1)
    assert errors.startswith("vmcfg: --image requires qemu-system-aarch64: install")
    bench.qemu("exit 1")
    bench.environment["CC"] = "false"
    code, errors = bench.run()
    assert (code, errors.count("\n")) == (3, 1)
    assert errors.startswith("vmcfg: there is no C compiler for arm64; install")


def test_there_is_no_such_image(bench: Bench) -> None:
    bench.image.unlink()
    code, errors = bench.run()
    assert (code, errors.count("\n")) == (3, 1)
    assert "cannot read the kernel image" in errors


def test_kvm_that_rejects_everything_is_one_sentence(bench: Bench) -> None:
    """The stand-in for QEMU answers line 0 of each plan of its archive with EPERM."""
    answer = b"vmcfg:failed 0 1\n"
    bench.qemu(
        'while [ "$1" != -initrd ]; do shift; done\n'
        f"{START}\n"
        "for plan in $(grep -ao 'plan [0-9]* 0 0$' \"$2\" | cut -d' ' -f2); do\n"
        f"printf 'vmcfg:plan %s\\n{answer[:-1].decode()}\\nvmcfg:end %s {fnv(answer)}\\n'"
        " $plan $plan\n"
        "done\n"
        "printf 'vmcfg:done\\n'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "vmcfg", "probe", "--image", str(bench.image)],
        env=bench.environment,
        capture_output=True,
        text=True,
    )
    said = "vmcfg: KVM of this kernel cannot be probed: a call fails with EPERM\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", said)
    assert bench.is_clean()


# Answers of a guest -------------------------------------------------------------------------------


@pytest.fixture
def kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandInKvm]:
    """Return a kernel that answers on this host, and in the guest that boots the file Image."""
    kernel = StandInKvm()
    pmus = tmp_path / "pmus"
    stand_in_kvm.add_pmu(pmus, "armv8_pmuv3", 10, "0-3")
    stand_in_kvm.add_pmu(pmus, "breakpoint", 5, None)
    stand_in_kvm.install(monkeypatch, kernel, pmus)
    stand_in_guest.install(monkeypatch, kernel, pmus)
    monkeypatch.setattr(boot, "performer", lambda: b"")
    (tmp_path / "Image").write_bytes(IMAGE.replace(b"6.12.7-test", kernel.release.encode()))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield kernel
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert kernel.still_open() == [], "the command leaves descriptors of KVM open"


class Answered(NamedTuple):
    """A description that is tried, and the calls that fail, with their errno."""

    text: str
    refused: Mapping[str, int] = {}
    returned: Mapping[str, bytes] = {}
    options: tuple[str, ...] = ()
    devices: frozenset[int] = frozenset({5, 7, 8})
    has_pmu: bool = True


TWO = "vmcfg: 1\nname: vm\nvcpus: 2\npmu: {irq: 23}\n"
OF_THE_VMM = "gic: {version: 3, set_up_by: monitor, nr_irqs: 128}\n"
IRQ_OF_1 = "vcpu:1 SET_DEVICE_ATTR 0 0 17000000"
READ_OF_1 = "vcpu:1 GET_DEVICE_ATTR 0 0"
ANSWERED = {
    "everything": Answered(EVERYTHING),
    "no run": Answered(EVERYTHING, options=("--no-run",)),
    "a GICv3 of the VMM": Answered(TWO),
    "a GICv2 of the VMM": Answered(TWO, devices=frozenset({5})),
    "the described GIC of the VMM": Answered(TWO + OF_THE_VMM),
    "a rejected command": Answered(TWO, {IRQ_OF_1: errno.EBUSY}),
    "a rejected command of the GIC of the VMM": Answered(
        TWO, {"gic SET_DEVICE_ATTR 3 0 e0030000": errno.EINVAL}
    ),
    "a rejected VM": Answered(TWO, {"kvm CREATE_VM 0x28": errno.EINVAL}, options=("--unchecked",)),
    "a rejected vCPU": Answered(TWO, {"vm CREATE_VCPU 1": errno.EINVAL}, options=("--unchecked",)),
    "a rejected run": Answered(TWO, {"vcpu:1 RUN": errno.ENXIO}),
    "another value": Answered(TWO, returned={READ_OF_1: (24).to_bytes(4, "little")}),
    "a value that cannot be read": Answered(TWO, {READ_OF_1: errno.ENXIO}),
    "a broken rule": Answered(
        TWO.replace("23", "23-24"),
        {"vcpu:1 SET_DEVICE_ATTR 0 0 18000000": errno.EINVAL},
        options=("--unchecked",),
    ),
    "a host PMU": Answered(TWO.replace("23", "23, device: armv8_pmuv3")),
    "no such host PMU": Answered(TWO.replace("23", "23, device: apple_m1")),
    "no PMU": Answered(TWO, has_pmu=False),
    "too much memory": Answered(
        TWO + "ipa_bits: 52\nmemory: [{base: 0x10000, size: 0x8000000000000}]\n",
        options=("--unchecked",),
    ),
}


@pytest.mark.parametrize("answered", ANSWERED.values(), ids=ANSWERED)
def test_a_guest_is_tried_as_a_host_is(
    answered: Answered, kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    Path("vm.yaml").write_text(answered.text)
    kvm.refused.update(answered.refused)
    kvm.returned.update(answered.returned)
    kvm.devices = set(answered.devices)
    kvm.capabilities[126] = int(answered.has_pmu)
    command = ("try", *answered.options, "vm.yaml")
    Path("console").write_bytes(console_elsewhere(kvm, vmcfg_here, *command))
    for form in (("--format", "json"), ("-v",)):
        kvm.calls.clear()
        here, calls = vmcfg_here(*command, *form), changes(kvm)
        kvm.calls.clear()
        assert vmcfg_here(*command, *form, "--image", "Image") == here
        assert changes(kvm) == calls
        kvm.calls.clear()
        assert vmcfg_here(*command, *form, "--results", "console") == here
        assert changes(kvm) == []


def console_elsewhere(kernel: StandInKvm, vmcfg_here: Vmcfg, *command: str) -> bytes:
    """Return the console of a machine that boots the archive of a command."""
    code, output, _ = vmcfg_here(*command, "--image", "Image", "--initrd", "initrd")
    assert code in (0, 1)
    assert output == ""
    plans = files_of(Path("initrd").read_bytes())["plans"].decode()
    return stand_in_guest.console(kernel, Path("pmus").absolute(), plans)


def changes(kernel: StandInKvm) -> list[str]:
    """Return the calls in order, without those that only read."""
    return [call for call in kernel.calls if not re.search(" GET_| CHECK_EXTENSION", call)]


def test_one_boot_tries_all_descriptions(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    kvm.devices = {7, 8}
    kvm.refused["kvm CREATE_VM 0x34"] = errno.EINVAL
    for name, text in DESCRIPTIONS.items():
        Path(f"{name}.yaml").write_text(text)
    for form in ((), ("--format", "ktap"), ("--format", "json")):
        here = vmcfg_here("try", *form, ".")
        assert vmcfg_here("try", *form, "--image", "Image", ".") == here
        command = ("try", *form, ".")
        Path("console").write_bytes(console_elsewhere(kvm, vmcfg_here, *command))
        assert vmcfg_here(*command, "--results", "console") == here


OTHERS = {
    "another description": ("vm.yaml", TWO.replace("23", "22"), ()),
    "another option": ("vm.yaml", TWO, ("--no-run",)),
    "one more description": (".", TWO, ()),
}


@pytest.mark.parametrize(("path", "text", "options"), OTHERS.values(), ids=OTHERS)
def test_results_of_other_plans_are_rejected(
    path: str, text: str, options: tuple[str, ...], kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    Path("vm.yaml").write_text(TWO)
    Path("console").write_bytes(console_elsewhere(kvm, vmcfg_here, "try", "vm.yaml"))
    Path("vm.yaml").write_text(text)
    Path("other.yaml").write_text(text)
    code, output, errors = vmcfg_here("try", *options, path, "--results", "console")
    assert (code, output) == (3, "")
    assert errors == (
        "vmcfg: console: the results are those of other plans: the descriptions, the options, or"
        " the kernel have changed since the initrd was written\n"
    )


def test_results_that_are_cut_are_rejected(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    Path("vm.yaml").write_text(TWO)
    whole = console_elsewhere(kvm, vmcfg_here, "try", "vm.yaml")
    for size in (0, 40, len(whole) // 2, len(whole) - len("vmcfg:done\r\n")):
        Path("console").write_bytes(whole[:size])
        code, output, errors = vmcfg_here("try", "vm.yaml", "--results", "console")
        assert (code, output) == (3, "")
        assert errors.startswith("vmcfg: console")


def test_the_initrd_has_the_plans_of_those_without_errors(
    kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    Path("right.yaml").write_text(TWO)
    Path("wrong.yaml").write_text(TWO.replace("23", "27"))
    command = ("try", ".", "--image", "Image", "--initrd", "initrd")
    code, output, errors = vmcfg_here(*command)
    assert (code, output) == (1, "")
    assert "./wrong.yaml:4:12: error[VMC507]" in errors
    assert "right.yaml" not in errors
    plans = files_of(Path("initrd").read_bytes())["plans"].decode()
    assert plans.count("plan ") == 1
    assert vmcfg_here(*command, "--unchecked")[0] == 0
    assert files_of(Path("initrd").read_bytes())["plans"].decode().count("plan ") == 2


def test_the_initrd_does_not_replace_a_description(kvm: StandInKvm, vmcfg_here: Vmcfg) -> None:
    Path("vm.yaml").write_text(TWO)
    code, _, errors = vmcfg_here("try", "vm.yaml", "--image", "Image", "--initrd", "vm.yaml")
    assert code == 2
    assert "--initrd vm.yaml is a description, which it would replace." in errors
    assert Path("vm.yaml").read_text() == TWO


@pytest.mark.parametrize("devices", [{5, 7, 8}, {5}, {7}, set()], ids=str)
@pytest.mark.parametrize("capabilities", [{126: 1, 170: 1}, {126: 1}, {170: 1}, {}], ids=str)
def test_a_guest_is_probed_as_a_host_is(
    devices: set[int], capabilities: dict[int, int], kvm: StandInKvm, vmcfg_here: Vmcfg
) -> None:
    kvm.devices = devices
    kvm.capabilities = {165: 44, **capabilities}
    kvm.lacking = {"gic 9 0", "vcpu 0 4"}
    kvm.masks = bytes(range(256)) * 6
    kvm.returned["vcpu:0 GET_ONE_REG 0x606000000015ffff"] = (0b1011).to_bytes(64, "little")
    kvm.refused["vcpu:0 GET_ONE_REG 0x603000000013d801"] = errno.ENOENT
    code, host, errors = vmcfg_here("probe", "--format", "json")
    assert vmcfg_here("probe", "--format", "json", "--image", "Image") == (code, host, errors)
    assert (code, errors) == (0, "")


def test_a_guest_that_does_not_answer_is_booted_at_most_four_times(
    kvm: StandInKvm, vmcfg_here: Vmcfg, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b"vmcfg:without-pmu\n"
    boots = []

    def booted(guest: Guest, plans: str) -> tuple[bytes, str]:
        boots.append(plans)
        said = b"vmcfg:release 7.2.13\n"
        for number in re.findall(r"(?m)^plan (\d+)", plans):
            said += b"vmcfg:plan %s\n%svmcfg:end %s %d\n" % (
                *(number.encode(), answer),
                *(number.encode(), fnv(answer)),
            )
        return said + b"vmcfg:done\n", ""

    monkeypatch.setattr(boot, "_booted", booted)
    said = "vmcfg: the guest did not answer all questions\n"
    assert vmcfg_here("probe", "--image", "Image") == (3, "", said)
    assert len(boots) == 4


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "try requires descriptions, a plan with --plan, or --examples."),
        (("--examples", "a.yaml"), "try requires descriptions"),
        (("--cpu", "max", "a.yaml"), "--cpu requires --image."),
        (("--plan", "p", "--format", "ktap"), "--format ktap cannot be used with --plan."),
        (("--initrd", "i", "a.yaml"), "--initrd requires --image."),
        (("--image", "i", "--results", "r", "a.yaml"), "--results cannot be used with --image."),
        (("--script", "--results", "r", "a.yaml"), "--results cannot be used with --script."),
    ],
)
def test_options_that_do_not_fit(arguments: tuple[str, ...], said: str, vmcfg_here: Vmcfg) -> None:
    code, _, errors = vmcfg_here("try", *arguments)
    assert code == 2
    assert said in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--image", "Image", "--script"), "--image cannot be used with --script or --common."),
        (("--image", "Image", "--common"), "--image cannot be used with --script or --common."),
        (("--script", "--timeout", "5"), "--timeout requires --image."),
        (("--common", "--append", "quiet"), "--append requires --image."),
    ],
)
def test_options_of_probe_that_do_not_fit(
    arguments: tuple[str, ...], said: str, vmcfg_here: Vmcfg
) -> None:
    code, _, errors = vmcfg_here("probe", *arguments)
    assert code == 2
    assert said in errors


def test_probe_says_that_there_is_no_such_image(vmcfg_here: Vmcfg) -> None:
    code, output, errors = vmcfg_here("probe", "--image", "no-image")
    assert (code, output, errors.count("\n")) == (3, "", 1)
    assert "cannot read the kernel image no-image" in errors
