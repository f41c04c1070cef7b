"""``vmcfg import``: how the kind of a source is recognized, and what is written where."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.blobs import blob
from tests.processes import run_vmcfg, run_vmcfg_as_text
from tests.test_acpi import REGION, apic, gicc, gicd, gtdt
from tests.test_devicetree import DTS, FROM_DTS, gicv3, pmu, tree
from tests.test_devicetree import REGION as FRAME
from vmcfg.files import NoFile
from vmcfg.importing.sources import SOURCES, source_of

ROOT = Path(__file__).parent.parent

BLOB = blob(tree(0, 1, pmu=pmu(7)))
V3 = (
    "gic:\n  version: 3\n  distributor: 0x08000000\n"
    "  redistributors:\n    - base: 0x080a0000\n      count: 123\n"
)
FROM_BLOB = f"vmcfg: 1\nname: linux-dummy-virt\nvcpus: 2\n{V3}pmu:\n  irq: 23\n"

APIC = apic(gicd(), gicc(0, 23), gicc(1, 23), REGION)
FROM_TABLES = f"vcpus: 2\n{V3}pmu:\n  irq: 23\n"

WITH_WARNING = blob(tree(0, intc=gicv3(FRAME, **{"redistributor-stride": [0, 0x4_1000]})))
WARNING = (
    "vmcfg: warning: The redistributors of intc are 0x41000 bytes apart, and those of KVM are"
    " 0x20000 bytes apart\n"
    "vmcfg: warning: The redistributor region of intc at 0x80a0000 has 0xf60000 bytes, which is"
    " not a multiple of 0x41000\n"
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs `vmcfg import` in a directory with sources of every kind."""
    (tmp_path / "guest.dtb").write_bytes(BLOB)
    (tmp_path / "warned.dtb").write_bytes(WITH_WARNING)
    (tmp_path / "guest.dts").write_text(DTS)
    tables = tmp_path / "tables"
    (tables / "data").mkdir(parents=True)
    (tables / "APIC").write_bytes(APIC)
    (tables / "GTDT").write_bytes(gtdt(virtual=20))
    (tables / "FACP").write_bytes(b"FACP" + bytes(240))

    def vmcfg(*args: str, input: bytes | None = None) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"]}
        done = run_vmcfg(["import", *args], cwd=tmp_path, env=env, input=input)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return vmcfg


def without_comments(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("#"))


# Kinds --------------------------------------------------------------------------------------------


HEADS = {
    "dtb": [BLOB, BLOB[:4]],
    "dts": [
        DTS.encode(),
        b"/* Copyright */\n\n// x\n/dts-v1/;\n",
        b" / {\n};",
        b"/memreserve/ 0 1;",
    ],
    "acpi": [APIC, gtdt(), b"FACP" + (100).to_bytes(4, "little") + bytes(92)],
    "record": [b'{"op":"record","format":"vmcfg.record","format_version":"1.0","kernel":"6.12"}\n'],
    "libvirt": [
        b"<domain type='kvm'>",
        b"<domain>",
        b'<?xml version="1.0"?>\n<!-- virsh\ndumpxml -->\n  <domain id="1">',
    ],
    "qemu": [
        b"qemu-system-aarch64 -M virt",
        b"/usr/bin/qemu-system-aarch64\0-M\0virt\0",
        b"# web\nLC_ALL=C /usr/libexec/qemu-kvm \\\n -M virt",
    ],
}
"""First bytes of sources of each kind."""


def test_every_kind_has_first_bytes() -> None:
    assert list(HEADS) == list(SOURCES)


@pytest.mark.parametrize(
    ("name", "head"), [(name, head) for name, heads in HEADS.items() for head in heads]
)
def test_a_kind_is_recognized_by_its_content(name: str, head: bytes) -> None:
    assert source_of("x", head).name == name
    others = [each.name for each in SOURCES.values() if each.recognizes(head)]
    assert others == [name]


UNKNOWN = [
    b"x",
    b"see /dts-v1/",
    b"/usr/bin/env {",
    b"vmcfg: 1\nname: vm\nvcpus: 2\n",
    b"\xd0\x0d\xfe",
    b"APIC",
    b"FACP" + (99).to_bytes(4, "little") + bytes(92),
    b"\0" * 100,
    b'{"op":"plan"}\n',
    b"<domains>",
    b"<network>qemu-system-aarch64 </network>",
    b"see <domain>",
    b"qemu-img create",
    b"qemu-system-aarch64",
]


@pytest.mark.parametrize("head", UNKNOWN, ids=range(len(UNKNOWN)))
def test_what_is_only_like_a_kind_is_unknown(head: bytes) -> None:
    with pytest.raises(NoFile) as raised:
        source_of("x", head)
    assert "its kind is unknown" in str(raised.value)


WORDS = [
    "qemu-system-aarch64",
    "-name",
    "guest=a b",
    "-M",
    "virt,gic-version=3,accel=kvm",
    "-cpu",
    "host",
]
OF_WORDS = [
    "# a comment",
    "qemu-system-aarch64 -name 'guest=a b' \\",
    "-M virt,gic-version=3,accel=kvm -cpu host",
]
DOMAIN = """\
<domain type="kvm">
  <name>a-b</name>
  <memory unit="MiB">128</memory>
  <vcpu>1</vcpu>
  <os><type arch="aarch64" machine="virt">hvm</type></os>
  <features><gic version="3"/></features>
  <cpu mode="host-passthrough"/>
</domain>
"""


def test_a_vm_of_qemu_is_imported_from_words_text_processes_and_libvirt(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("\n".join(OF_WORDS) + "\n")
    (tmp_path / "cmdline").write_text("".join(f"{word}\0" for word in WORDS))
    (tmp_path / "domain.xml").write_text(DOMAIN)
    done = [run("--", *WORDS), run("text"), run("cmdline"), run("domain.xml")]
    assert [(each.stderr, each.returncode) for each in done] == [("", 0)] * 4
    imported = {without_comments(each.stdout) for each in done}
    assert len(imported) == 1
    assert imported.pop().startswith("vmcfg: 1\nname: a-b\n")


def test_a_kind_is_not_recognized_by_the_name_of_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "guest.dts").write_bytes(BLOB)
    assert without_comments(run("guest.dts").stdout) == FROM_BLOB


def test_an_unknown_kind_is_one_sentence_with_those_that_are_known(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "x.bin").write_bytes(b"\x7fELF")
    done = run("x.bin")
    assert (done.stdout, done.returncode) == ("", 3)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("vmcfg: cannot import x.bin: its kind is unknown; use a device")
    for source in SOURCES.values():
        assert source.words in done.stderr


def test_an_option_overrides_the_content(run: Run) -> None:
    done = run("--from", "dts", "guest.dtb")
    assert done.returncode == 3
    assert done.stderr.startswith(
        "vmcfg: cannot import guest.dtb: dtc rejects the device tree source: "
    )
    done = run("--from", "acpi", "guest.dtb")
    assert done.stderr.startswith("vmcfg: cannot import guest.dtb: guest.dtb is incomplete: it has")


def test_an_empty_source_is_a_failure(run: Run) -> None:
    done = run("-", input=b"")
    assert done.stderr == "vmcfg: cannot import <stdin>: it is empty\n"
    assert (done.stdout, done.returncode) == ("", 3)


def test_a_file_that_is_not_there_is_a_failure(run: Run) -> None:
    done = run("none.dtb")
    assert done.stderr == "vmcfg: cannot read none.dtb: No such file or directory\n"
    assert done.returncode == 3


def test_a_source_without_end_is_a_failure(run: Run) -> None:
    done = run("--from", "dtb", "/dev/zero")
    assert done.stderr == "vmcfg: cannot read /dev/zero: it is larger than 16 MiB\n"
    assert done.returncode == 3


# Where it comes from, and where it goes -----------------------------------------------------------


def test_standard_input_and_pipes_are_sources(run: Run, tmp_path: Path) -> None:
    assert without_comments(run("-", input=BLOB).stdout) == FROM_BLOB
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = f'cat guest.dtb > pipe & exec "{sys.executable}" -m vmcfg import pipe'
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert without_comments(done.stdout) == FROM_BLOB


def test_a_source_that_is_longer_than_its_first_part_is_read_whole(run: Run) -> None:
    padding = b"\n" * (1 << 17)
    done = run("-", input=DTS.encode() + padding + b"syntax error")
    assert "line 131" in done.stderr
    assert without_comments(run("-", input=DTS.encode() + padding).stdout) == FROM_DTS


TABLES = {
    "a directory": (["tables"], "tables", "timers:\n  virtual: 20\n"),
    "the same with a slash": (["tables/"], "tables", "timers:\n  virtual: 20\n"),
    "both tables": (["tables/GTDT", "tables/APIC"], "GTDT", "timers:\n  virtual: 20\n"),
    "one table": (["tables/APIC"], "APIC", ""),
}


@pytest.mark.parametrize(("paths", "name", "timers"), TABLES.values(), ids=TABLES)
def test_tables_are_files_or_a_directory(
    paths: list[str], name: str, timers: str, run: Run
) -> None:
    done = run(*paths)
    assert without_comments(done.stdout) == f"vmcfg: 1\nname: {name}\n{FROM_TABLES}{timers}"
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_directory_without_tables_is_a_failure(run: Run) -> None:
    done = run("tables/data")
    assert done.stderr == (
        "vmcfg: cannot import tables/data: it does not contain the ACPI tables APIC or GTDT\n"
    )
    assert done.returncode == 3


def test_a_device_tree_as_a_directory_is_a_failure(run: Run, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "#address-cells").write_bytes(b"\0\0\0\2")
    done = run("base")
    assert done.stderr == (
        "vmcfg: cannot import base: it is a device tree as a directory; use /sys/firmware/fdt, or"
        " the output of dtc -I fs -O dtb base\n"
    )
    assert done.returncode == 3


def test_the_name_is_that_of_the_source_or_of_the_file_or_of_the_option(
    run: Run, tmp_path: Path
) -> None:
    for name, expected in (
        ("my guest.1.dtb", "my-guest.1"),
        ("007", '"007"'),
        ("Nö!", '"N"'),
        ("...", "imported"),
    ):
        (tmp_path / name).write_bytes(blob({**tree(0), "model": b""}))
        assert f"\nname: {expected}\n" in run(name).stdout
    assert "\nname: other\n" in run("--name", "other", "guest.dtb").stdout
    assert "\nname: imported\n" in run("-", input=APIC).stdout


def test_the_description_can_be_a_file(run: Run, tmp_path: Path) -> None:
    printed = run("guest.dtb").stdout
    done = run("guest.dtb", "-o", "vm.yaml")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert (tmp_path / "vm.yaml").read_text() == printed
    assert run("guest.dtb", "-o", "-").stdout == printed


def test_a_failure_leaves_the_file_unchanged(run: Run, tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text("old")
    assert run("tables/GTDT", "-o", "vm.yaml").returncode == 3
    assert run("warned.dtb", "--strict", "-o", "vm.yaml").returncode == 1
    assert (tmp_path / "vm.yaml").read_text() == "old"


def test_what_is_printed_can_be_validated(run: Run, tmp_path: Path) -> None:
    printed = run("guest.dtb").stdout
    done = run_vmcfg_as_text(["validate", "--strict", "-"], env={}, input=printed)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# Warnings -----------------------------------------------------------------------------------------


def test_a_warning_is_a_comment_and_on_standard_error(run: Run) -> None:
    done = run("warned.dtb")
    assert (done.stderr, done.returncode) == (WARNING, 0)
    comments = [line.removeprefix("#").strip() for line in done.stdout.splitlines() if "#" in line]
    text = " ".join(comments)
    assert "The redistributors of intc are 0x41000 bytes apart, and those of KVM are" in text


def test_with_strict_a_warning_is_an_error(run: Run) -> None:
    done = run("--strict", "warned.dtb")
    assert (done.stdout, done.stderr, done.returncode) == ("", WARNING, 1)
    assert run("--strict", "guest.dtb").returncode == 0


# Usage --------------------------------------------------------------------------------------------


USAGE = {
    "no source": ([], "import requires a SOURCE, or -- and a command line."),
    "standard input twice": (["-", "-"], "Only one SOURCE can be standard input."),
    "two device trees": (
        ["guest.dtb", "warned.dtb"],
        "Import one source at a time: only ACPI tables can be several files, not a device tree"
        " blob.",
    ),
    "no words": (["--"], "-- requires a command line: -- qemu-system-aarch64 ARG..."),
    "a file and words": (
        ["guest.dtb", "--", "qemu-system-aarch64"],
        "After -- comes a command line of QEMU, without other sources.",
    ),
    "words of another kind": (
        ["--from", "dtb", "--", "qemu-system-aarch64"],
        "After -- comes a command line of QEMU, without other sources.",
    ),
    "an option for records": (
        ["--vm", "1", "guest.dtb"],
        "--vm is valid only for a record, not a device tree blob.",
    ),
    "another option for records": (
        ["--all", "guest.dts"],
        "--all is valid only for a record, not a device tree source.",
    ),
    "an output without name": (["guest.dtb", "-o", ""], "-o requires the name of a file."),
    "the source as output": (["guest.dtb", "-o", "guest.dtb"], "-o guest.dtb is a source itself."),
    "an invalid name": (
        ["--name", "a b", "guest.dtb"],
        "Invalid value for '--name': invalid name 'a b' for the name; use only letters,"
        " digits, '.', '_', and '-'.",
    ),
}


@pytest.mark.parametrize(("args", "expected"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_sentence(args: list[str], expected: str, run: Run) -> None:
    done = run(*args)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.splitlines()[-1] == f"Error: {expected}"


def test_sources_of_two_kinds_are_a_failure(run: Run) -> None:
    done = run("tables/APIC", "guest.dtb")
    assert done.stderr == (
        "vmcfg: cannot import guest.dtb with tables/APIC: one is a device tree blob, the other is"
        " the ACPI tables APIC and GTDT\n"
    )
    assert done.returncode == 3


# What a source cannot do --------------------------------------------------------------------------

HOSTILE = {
    "include.dts": b'/dts-v1/;\n/include/ "secret"\n/ { };\n',
    "incbin.dts": b'/dts-v1/;\n/ { a = /incbin/("secret"); };\n',
    "preprocessed.dts": b'/dts-v1/;\n#include "secret"\n/ { };\n',
    "entity.xml": b'<!DOCTYPE d [<!ENTITY e SYSTEM "secret">]>\n<domain type="kvm">&e;</domain>\n',
    "network.xml": b'<!DOCTYPE d SYSTEM "http://192.0.2.1/d.dtd">\n<domain type="kvm"/>\n',
    "guest.dtb": BLOB,
}
"""Sources that name another file or a host, and a harmless one."""

CALLS = "trace=open,openat,openat2,socket,connect,execve"


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_source_opens_no_other_file_and_no_connection(
    name: str, program: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "secret").write_text("secret")
    trace = tmp_path / "trace"
    command = [program("strace"), "-f", "-e", CALLS, "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-m", "vmcfg", "import", name],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=120,
        check=False,
    )
    lines = trace.read_text().splitlines()
    assert any(f'"{name}"' in line for line in lines)
    assert not [line for line in lines if "secret" in line or "AF_INET" in line]
    assert done.returncode == (0 if name == "guest.dtb" else 3)
    assert b"Traceback" not in done.stderr
