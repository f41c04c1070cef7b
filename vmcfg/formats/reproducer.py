"""A finding as a small C program: it makes the calls that lead to one answer of KVM, and compares.

For mail to the kernel's list, and as a test in the form of tools/testing/selftests/kvm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import NamedTuple

from vmcfg.escape import ascii_line
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.position import pointer
from vmcfg.findings.rule import Answer, Rule
from vmcfg.kernel.version import LINUX_6_1
from vmcfg.plans.command import Command, Operation
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import (
    ADD_MEMORY,
    CREATE_DEVICE,
    CREATE_VCPU,
    CREATE_VM,
    ENABLE_CAP,
    FINALIZE_VCPU,
    INIT_VCPU,
    SET_ATTR,
    SET_REG,
)
from vmcfg.plans.phases import CREATE
from vmcfg.plans.plan import WHOLE_VM
from vmcfg.trial.stand_in_gic import stand_in_gic
from vmcfg.vm.machine import Machine

RUN = "KVM_RUN"

NEEDS: dict[str, tuple[str, ...]] = {
    "vm.feature": ("vm.create",),
    "vm.capability": ("vm.create", "memory.", "vcpu.create"),
    "memory.": ("vm.create",),
    "vcpu.create": ("vm.create", "gic.create"),
    "gic.create": ("vm.create", "vcpu.create"),
    "its.create": ("vm.create",),
    "vcpu.init": ("vm.feature", "vcpu.create"),
    "vcpu.": ("vcpu.init",),
    "vcpu.finalize": ("vcpu.vector_lengths",),
    "vcpu.steal_time": ("memory.",),
    "vm.smccc_filter": ("vm.create",),
    "gic.": ("gic.create",),
    "gic.v3.": ("gic.v3.",),
    "gic.v2.": ("gic.v2.",),
    "its.": ("its.create",),
    "timer.": ("vcpu.init", "gic.create"),
    "pmu.": ("vcpu.init", "gic.create"),
    "pmu.counters": ("pmu.device",),
    "pmu.init": ("pmu.irq", "gic.", "gic.init"),
    "gic.init": ("gic.",),
}
"""The rows without which a command of a row gets another answer. Both are names, or with a dot at
the end, all rows that begin so.
"""


class Reproduced(NamedTuple):
    """What a program shows: the finding, the answer that it expects, and the calls.

    The first failure of the commands `asked` is the answer; without them, that of KVM_RUN.
    """

    found: Diagnostic
    rule: Rule
    answer: Answer
    leading: tuple[Command, ...]
    asked: tuple[Command, ...]

    def source(self, form: str) -> str:
        """Return the program in C: `form` is a key of `FORMS`."""
        return _source(self, form)


def reproduced(
    machine: Machine, diagnostics: Sequence[Diagnostic], rules: dict[str, Rule], wanted: str | None
) -> Reproduced | None:
    """Return the first finding with an answer of the kernel, of the rule `wanted` if not None.

    None without such a finding, or if no command of the plan makes its call.
    """
    commands = _whole(machine)
    for found in diagnostics:
        answer = found.kernel
        if answer is None or not answer.call or wanted not in (None, found.rule):
            continue
        rule = rules[found.rule]
        if answer.call == RUN:
            return Reproduced(found, rule, answer, commands, ())
        asked = _asked(commands, found, answer)
        if asked:
            leading = commands[: commands.index(asked[0])]
            return Reproduced(found, rule, answer, tuple(_needed(leading, asked[0])), asked)
    return None


def _whole(machine: Machine) -> tuple[Command, ...]:
    """Return the commands of the whole VM, with a GIC in place of that of the VMM."""
    commands = lower(machine, WHOLE_VM, unchecked=True).commands
    if machine.sets_up_gic():
        return commands
    version = machine.gic_version() or 3
    stand_in = stand_in_gic(machine.gic, version, len(machine.vcpus))
    created = [command for command in commands if command.row.phase == CREATE]
    return (*created, *stand_in, *commands[len(created) :])


def _asked(commands: Sequence[Command], found: Diagnostic, answer: Answer) -> tuple[Command, ...]:
    """Return the commands that make the call of an answer, up to the place of the finding."""
    calls = [command for command in commands if command.title == answer.call]
    places = [place for place, command in enumerate(calls) if _is_at(command, found)]
    return tuple(calls[: places[-1] + 1] if places else calls)


def _is_at(command: Command, found: Diagnostic) -> bool:
    """Return whether a command sends what is written at the place of a finding, or a part of it."""
    if command.origin is None:
        return False
    origin = pointer(command.origin)
    return f"{origin}/".startswith(f"{found.pointer}/") or f"{found.pointer}/".startswith(
        f"{origin}/"
    )


def _needed(leading: Sequence[Command], asked: Command) -> Iterator[Command]:
    """Yield the commands before `asked` without which it would get another answer."""
    rows = {asked.row.name}
    while True:
        more = {
            command.row.name
            for command in leading
            for row in rows
            for name, needed in NEEDS.items()
            if _is_like(row, name) and any(_is_like(command.row.name, each) for each in needed)
        }
        if more <= rows:
            break
        rows |= more
    return (command for command in leading if command.row.name in rows)


def _is_like(row: str, name: str) -> bool:
    return row == name or (name.endswith(".") and row.startswith(name))


# The program --------------------------------------------------------------------------------------


def _source(shown: Reproduced, form: str) -> str:
    every = [*shown.leading, *shown.asked]
    operations = {command.operation for command in every}
    helpers = [code for operation, code in HELPERS.items() if operation in operations]
    if any(command.host_name for command in every):
        helpers.append(PMU_TYPE)
    asked = list(_lines(shown.asked, "if (!got && ({call}) < 0)", "got = errno;"))
    if not asked:
        helpers.append(RUN_VCPUS)
        asked = [
            "if (run_vcpus(kvm, vcpu, sizeof(vcpu) / sizeof(vcpu[0])) < 0)",
            "\tgot = errno;",
        ]
    return FORMS[form].format(
        heading=_heading(shown),
        guards="".join(_guards(every)),
        helpers="".join(helpers),
        descriptors="".join(_descriptors(every)),
        leading=_text(_lines(shown.leading, 'must({call}, "{title}");')),
        asked=_text(asked),
        what=shown.answer.call,
        expected=shown.answer.errno or "0",
    )


def _heading(shown: Reproduced) -> str:
    """Return what is shown, as lines of a comment."""
    found, rule = shown.found, shown.rule
    sentences = [f"{rule.title()} ({found.rule}): {found.message}.", f"Expected: {shown.answer}."]
    if rule.source is not None:
        sentences.append(f"Source: {rule.source}")
    lines = [line for each in sentences for line in wrap(ascii_line(each), WIDTH)]
    return "".join(f" * {line}\n".replace("*/", "* /") for line in lines)


def _guards(every: Sequence[Command]) -> Iterator[str]:
    """Yield definitions of the names that headers of Linux 6.1 might not have."""
    names = {
        pair: None
        for command in every
        if command.row.since > LINUX_6_1 or command.operation in (INIT_VCPU, ENABLE_CAP)
        if command.payload is not None
        for pair in command.operation.c_names(command)
    }
    for name, number in names:
        if name not in IN_LINUX_6_1:
            yield f"#ifndef {name}\n#define {name} {number}\n#endif\n"


def _descriptors(every: Sequence[Command]) -> Iterator[str]:
    """Yield the declarations of the descriptors that the commands use."""
    kinds = {command.target.partition(":")[0] for command in every} - {"vm"}
    for kind in sorted(kinds):
        numbers = [_number(each) for each in every if each.target.partition(":")[0] == kind]
        yield f"\tint {kind}[{max(numbers) + 1}] = {{ 0 }};\n" if kind != "gic" else "\tint gic;\n"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"\t{line}\n" for line in lines)


def _lines(commands: Sequence[Command], *statement: str) -> Iterator[str]:
    """Yield a statement per command; those that differ only in their vCPU are a loop.

    The lines of the statement contain {call} and {title}.
    """
    for _, group in groupby(enumerate(commands), lambda each: _alike(*each)):
        alike = [command for _, command in group]
        number = None
        if len(alike) >= LEAST_OF_LOOP:
            yield f"for (int i = {_number(alike[0])}; i <= {_number(alike[-1])}; i++)"
            alike, number = alike[:1], "i"
        for command in alike:
            call = _call(command, number)
            indent = "" if number is None else "\t"
            for line in statement:
                yield indent + line.replace("{call}", call).replace("{title}", command.title)
                indent += "\t"


def _alike(place: int, command: Command) -> tuple[object, ...]:
    """Return what commands in a loop have in common: for vCPUs in a row, also their distance."""
    if not command.target.startswith("vcpu:"):
        return (place,)
    payload = None if command.operation is CREATE_VCPU else command.payload
    return command.row.name, command.attr_id, payload, place - _number(command)


def _number(command: Command) -> int:
    """Return the number of the target of a command."""
    return int(command.target.partition(":")[2] or 0)


def _call(command: Command, number: str | None = None) -> str:
    """Return the call of a command, which is negative if it fails. `number` replaces that of the
    target.
    """
    kind, _, own = command.target.partition(":")
    target = f"{kind}[{number or own}]" if own else kind
    return CALLS[command.operation](command, target, number or own)


def _create_vcpu(command: Command, target: str, number: str) -> str:
    return f"{target} = ioctl(vm, KVM_CREATE_VCPU, {number})"


def _enable_cap(command: Command, target: str, number: str) -> str:
    return f"ioctl(vm, KVM_ENABLE_CAP, {_data(command)})"


def _add_memory(command: Command, target: str, number: str) -> str:
    assert command.payload is not None
    slot, base, size, flags = command.payload
    return f"add_memory(vm, {slot}, {base:#x}, {size:#x}, {flags:#x})"


def _init_vcpu(command: Command, target: str, number: str) -> str:
    names = [name for name, _ in command.operation.c_names(command)]
    features = " | ".join(f"1 << {name}" for name in names)
    return f"init_vcpu(vm, {target}, {features})"


def _set_attr(command: Command, target: str, number: str) -> str:
    attr = command.attr
    assert attr is not None
    return f"set_attr({target}, {attr.group}, {attr.name}, {_data(command)})"


def _data(command: Command) -> str:
    """Return the address of what a command sends; NULL if it sends nothing."""
    if command.payload is None:
        return f'&(int){{ pmu_type("{command.host_name}") }}'
    for member in command.operation.c_members(command):
        name, _, value = member.partition(" = ")
        if name == ".data":
            return value
    return "NULL"


CALLS: dict[Operation, Callable[[Command, str, str], str]] = {
    CREATE_VM: lambda command, target, _: f"vm = ioctl(kvm, KVM_CREATE_VM, {command.number})",
    CREATE_VCPU: _create_vcpu,
    CREATE_DEVICE: lambda command, target, _: (
        f"{target} = create_device(vm, {command.operation.attr(command)})"
    ),
    ENABLE_CAP: _enable_cap,
    ADD_MEMORY: _add_memory,
    INIT_VCPU: _init_vcpu,
    FINALIZE_VCPU: lambda command, target, _: (
        f"ioctl({target}, KVM_ARM_VCPU_FINALIZE, {_data(command)})"
    ),
    SET_REG: lambda command, target, _: (
        f"set_reg({target}, {command.register.id:#x}, {_data(command)})"
    ),
    SET_ATTR: _set_attr,
}
"""The call of each operation in C: of a command, its target, and the number of that."""

LEAST_OF_LOOP = 3
WIDTH = 96

IN_LINUX_6_1 = frozenset(
    f"KVM_ARM_VCPU_{name}"
    for name in (
        *("POWER_OFF", "EL1_32BIT", "PSCI_0_2", "PMU_V3", "SVE"),
        *("PTRAUTH_ADDRESS", "PTRAUTH_GENERIC"),
    )
)
"""Features whose names every header has."""

HELPERS: dict[Operation, str] = {
    CREATE_DEVICE: """
static int create_device(int vm, uint32_t type)
{
	struct kvm_create_device device = { .type = type };

	return ioctl(vm, KVM_CREATE_DEVICE, &device) < 0 ? -1 : (int)device.fd;
}
""",
    ADD_MEMORY: """
static int add_memory(int vm, uint32_t slot, uint64_t base, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = { slot, flags, base, size, 0 };
	int flags_of_pages = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, flags_of_pages, -1, 0);

	region.userspace_addr = (uintptr_t)pages;
	return pages == MAP_FAILED ? -1 : ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}
""",
    INIT_VCPU: """
static int init_vcpu(int vm, int vcpu, uint32_t features)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return -1;
	init.features[0] |= features;
	return ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}
""",
    SET_REG: """
static int set_reg(int vcpu, uint64_t id, const void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return ioctl(vcpu, KVM_SET_ONE_REG, &reg);
}
""",
    SET_ATTR: """
static int set_attr(int fd, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr argument = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &argument);
}
""",
}

PMU_TYPE = """
static int pmu_type(const char *name)
{
	char path[128];
	int type = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/event_source/devices/%s/type", name);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%d", &type) != 1)
		type = -1;
	if (file)
		fclose(file);
	return type;
}
"""

RUN_VCPUS = """
/* Makes every check of the first KVM_RUN, without executing guest instructions. */
static int run_vcpus(int kvm, const int *vcpus, size_t count)
{
	size_t size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	for (size_t i = 0; i < count; i++) {
		struct kvm_run *run;

		if (!vcpus[i])
			continue;
		run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpus[i], 0);
		if (run == MAP_FAILED)
			return -1;
		run->immediate_exit = 1;
		if (ioctl(vcpus[i], KVM_RUN, 0) < 0 && errno != EINTR)
			return -1;
	}
	return 0;
}
"""

_MINIMAL = """\
// SPDX-License-Identifier: GPL-2.0
/*
{heading} */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <linux/kvm.h>
{guards}
static int must(int result, const char *what)
{{
	if (result < 0)
		err(3, "%s", what);
	return result;
}}
{helpers}
int main(void)
{{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = {expected};
	struct utsname host;
{descriptors}
{leading}
{asked}	uname(&host);
	printf("Linux %s: {what}: expected %s, got %s\\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}}
"""

_KSELFTEST = """\
// SPDX-License-Identifier: GPL-2.0
/*
{heading} */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "test_util.h"
#include "kvm_util.h"
{guards}
static int must(int result, const char *what)
{{
	TEST_ASSERT(result >= 0, "%s failed: %s", what, strerror(errno));
	return result;
}}
{helpers}
int main(void)
{{
	int kvm = open_kvm_dev_path_or_exit();
	int vm, got = 0, expected = {expected};
{descriptors}
{leading}
{asked}	TEST_ASSERT(got == expected, "{what}: expected %s, got %s",
		strerror(expected), strerror(got));
	return 0;
}}
"""

FORMS = {"minimal": _MINIMAL, "kselftest": _KSELFTEST}
