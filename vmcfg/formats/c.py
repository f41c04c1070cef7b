"""A plan as one C11 file: a table of commands and a function that performs them; with a main() it is a program.

It compiles against the <linux/kvm.h> of any kernel since 6.1: numbers stand in the table, and where the header has a
name for one, a _Static_assert holds them together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from string import ascii_letters, digits

from vmcfg.escape import printable
from vmcfg.formats.headings import cautions, performed
from vmcfg.kernel import abi
from vmcfg.kernel.features import VCPU_FEATURES
from vmcfg.plans.command import Command
from vmcfg.plans.phases import PHASE_DOCS, PHASES
from vmcfg.plans.plan import WHOLE_VM, Plan
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.text.tree import Tree
from vmcfg.trial.rules import RUN_ERRORS
from vmcfg.trial.stand_in_gic import stand_in_gic

REQUESTS = {
    "create-vm": "KVM_CREATE_VM",
    "add-memory": "KVM_SET_USER_MEMORY_REGION",
    "create-vcpu": "KVM_CREATE_VCPU",
    "create-device": "KVM_CREATE_DEVICE",
    "init-vcpu": "KVM_ARM_VCPU_INIT",
    "finalize-vcpu": "KVM_ARM_VCPU_FINALIZE",
    "set-reg": "KVM_SET_ONE_REG",
    "set-attr": "KVM_SET_DEVICE_ATTR",
}
"""The ioctl of each operation by its uapi name."""

NUMBERED = ("vcpu", "its")
"""The targets of which there are several, told apart by the number after their colon."""

_PLAIN = f"{ascii_letters}{digits} -_.,:=+@%/()".encode()
"""What stands for itself in a string literal."""

_C_TYPES = {"s32": "int32_t", "u32": "uint32_t", "u64": "uint64_t"}

TOP = """\
/*
 * The plan of {vm}, made by vmcfg from {file}, for kernels {host_kernel} and later.
 * Commands: {count}. They are {perform}.{cautions}
 *
{use} */
"""

USE = """\
 * vmcfg_perform() performs them on descriptors that the caller has made. Compile this file by itself; a caller gets the
 * declarations with
 *
 *     #define VMCFG_DECLARATIONS
 *     #include "plan.c"
"""

USE_MAIN = """\
 * This program makes the VM, prints what KVM says to each command, enters each vCPU once without running its guest, and
 * ends with 0 if KVM took everything, 1 if it refused something, 3 if it can't be asked. Nothing is left of the VM.
 *
 *     aarch64-linux-gnu-gcc -std=c11 -static -o plan plan.c && scp plan host: && ssh host ./plan
"""

INCLUDES = """
#ifndef VMCFG_DECLARATIONS
#define _DEFAULT_SOURCE /* for MAP_ANONYMOUS and MAP_NORESERVE */
#endif
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/kvm.h>
"""

DECLARATIONS = """
{phases}#define VMCFG_ALL_PHASES {all}

/* The descriptors that the commands speak to. {who_fills} */
struct vmcfg_fds {{
{members}}};

/* A command that failed. */
struct vmcfg_failure {{
	unsigned int seq;	/* its number, from 1 */
	const char *words;	/* the command as `vmcfg emit` prints it */
	const char *origin;	/* line:column of the description that it comes from; NULL where it carries no value */
	int error;		/* errno */
}};

/*
 * Performs the commands of `phases`, in their order. Returns 0; or -1 where one failed, which is told in *failure, and
 * after which no other is performed.
 */
int vmcfg_perform(struct vmcfg_fds *fds, unsigned int phases, struct vmcfg_failure *failure);
"""

COMMAND = """
struct vmcfg_command {
	const char *words;
	const char *origin;
	unsigned int phase;
	enum { VMCFG_VM, VMCFG_GIC, VMCFG_ITS, VMCFG_VCPU, VMCFG_PMU } target;
	unsigned int number;	/* of the vCPU or the ITS */
	unsigned long request;
	uint32_t group;
	uint64_t attr;		/* or the register's id, or all that the ioctl takes */
	const void *data;	/* what the ioctl reads, or what the attribute's or register's address points to */
};
"""

PERFORM_ONE = """
static int *vmcfg_fd(struct vmcfg_fds *fds, const struct vmcfg_command *command)
{{
	switch (command->target) {{
{targets}	default:
		return &fds->vm;
	}}
}}

/* Returns -1 and sets errno where the command fails. */
static int vmcfg_perform_one(struct vmcfg_fds *fds, const struct vmcfg_command *command)
{{
	int *fd = vmcfg_fd(fds, command);

	switch (command->request) {{
	case KVM_SET_DEVICE_ATTR: {{
		struct kvm_device_attr attr = {{
			.group = command->group,
			.attr = command->attr,
			.addr = (uintptr_t)command->data,
		}};

		return ioctl(*fd, KVM_SET_DEVICE_ATTR, &attr);
	}}
	case KVM_SET_ONE_REG: {{
		struct kvm_one_reg reg = {{ .id = command->attr, .addr = (uintptr_t)command->data }};

		return ioctl(*fd, KVM_SET_ONE_REG, &reg);
	}}
{making}	default:
		errno = ENOTTY;
		return -1;
	}}
}}
"""

MAKING = """\
	case KVM_CREATE_VM:
		*fd = ioctl(fds->kvm, KVM_CREATE_VM, command->attr);
		return *fd;
	case KVM_SET_USER_MEMORY_REGION: {
		struct kvm_userspace_memory_region slot;
		void *pages;

		memcpy(&slot, command->data, sizeof(slot));
		pages = mmap(NULL, slot.memory_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (pages == MAP_FAILED)
			return -1;
		slot.userspace_addr = (uintptr_t)pages;
		return ioctl(*fd, KVM_SET_USER_MEMORY_REGION, &slot);
	}
	case KVM_CREATE_VCPU:
		*fd = ioctl(fds->vm, KVM_CREATE_VCPU, command->attr);
		return *fd;
	case KVM_CREATE_DEVICE: {
		struct kvm_create_device device;

		memcpy(&device, command->data, sizeof(device));
		if (ioctl(fds->vm, KVM_CREATE_DEVICE, &device) < 0)
			return -1;
		*fd = (int)device.fd;
		return 0;
	}
	case KVM_ARM_VCPU_INIT: {
		const struct kvm_vcpu_init *wanted = command->data;
		struct kvm_vcpu_init init;
		size_t i;

		if (ioctl(fds->vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
			return -1;
		for (i = 0; i < sizeof(init.features) / sizeof(init.features[0]); i++)
			init.features[i] |= wanted->features[i];
		return ioctl(*fd, KVM_ARM_VCPU_INIT, &init);
	}
	case KVM_ARM_VCPU_FINALIZE:
		return ioctl(*fd, KVM_ARM_VCPU_FINALIZE, command->data);
"""

PERFORM_ALL = """
int vmcfg_perform(struct vmcfg_fds *fds, unsigned int phases, struct vmcfg_failure *failure)
{
	const struct vmcfg_command *command;

	for (command = vmcfg_plan; command->words; command++) {
		if (!(command->phase & phases))
			continue;
		if (vmcfg_perform_one(fds, command) < 0) {
			failure->seq = (unsigned int)(command - vmcfg_plan) + 1;
			failure->words = command->words;
			failure->origin = command->origin;
			failure->error = errno;
			return -1;
		}
	}
	return 0;
}
"""

MAIN = """
/* The name of an errno: it is what one looks for in the kernel's source. */
static const char *vmcfg_errno(int error)
{{
	static char number[32];

	switch (error) {{
{errnos}	default:
		snprintf(number, sizeof(number), "errno %d", error);
		return number;
	}}
}}

/* Performs one command and says what became of it; or after a refusal, that it was not reached. */
static void vmcfg_try(struct vmcfg_fds *fds, const struct vmcfg_command *command, int *refused)
{{
	const char *outcome = "ok";

	if (*refused) {{
		outcome = "not reached";
	}} else if (vmcfg_perform_one(fds, command) < 0) {{
		outcome = vmcfg_errno(errno);
		*refused = 1;
	}}
	printf("%u %s: %s\\n", (unsigned int)(command - vmcfg_plan) + 1, command->words, outcome);
}}
{stand_in_function}
/* Enters a vCPU and leaves it at once: KVM makes every check of the first KVM_RUN, and runs no guest instruction. */
static int vmcfg_enter(int fd, size_t size)
{{
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (run == MAP_FAILED)
		return -1;
	run->immediate_exit = 1;
	return ioctl(fd, KVM_RUN, 0) < 0 && errno != EINTR ? -1 : 0;
}}

int main(void)
{{
	static struct vmcfg_fds fds;
	const struct vmcfg_command *command;
	struct rlimit files;
	int refused = 0;
	int size;

	/* Every vCPU is an open file, and 512 of them may be more than the usual limit. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {{
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}}
	fds.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	size = fds.kvm < 0 ? -1 : ioctl(fds.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0) {{
		perror("/dev/kvm");
		return 3;
	}}
	if ({pmu} && ioctl(fds.kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PMU_V3) <= 0) {{
		fprintf(stderr, "this host has no PMU that KVM could give a guest (KVM_CAP_ARM_PMU_V3 is 0)\\n");
		return 3;
	}}
	for (command = vmcfg_plan; command->phase == VMCFG_CREATE; command++)
		vmcfg_try(&fds, command, &refused);
{stand_in_call}	for (; command->words; command++)
		vmcfg_try(&fds, command, &refused);
	if (refused)
		return 1;
	for (command = vmcfg_plan; command->words; command++) {{
		const char *outcome = "ok";

		if (command->request != KVM_CREATE_VCPU)
			continue;
		if (vmcfg_enter(fds.vcpu[command->number], (size_t)size) < 0) {{
			outcome = vmcfg_errno(errno);
			refused = 1;
		}}
		printf("run vcpu:%u: %s\\n", command->number, outcome);
	}}
	return refused;
}}
"""

STAND_IN = """
/* The GIC is the monitor's: makes one in its place, which nothing of the plan depends on. */
static void vmcfg_stand_in(struct vmcfg_fds *fds, int *refused)
{{
	static const struct {{
		uint32_t type;
		const char *name;
		const struct vmcfg_command *commands;
	}} gics[] = {{
{gics}	}};
	const struct vmcfg_command *command;
	size_t i;

	for (i = 0; !*refused && i < sizeof(gics) / sizeof(gics[0]); i++) {{
		struct kvm_create_device test = {{ .type = gics[i].type, .flags = KVM_CREATE_DEVICE_TEST }};

		if (i + 1 < sizeof(gics) / sizeof(gics[0]) && ioctl(fds->vm, KVM_CREATE_DEVICE, &test) < 0)
			continue;
		fprintf(stderr, "vmcfg: the GIC is the monitor's; a %s stands in for it\\n", gics[i].name);
		for (command = gics[i].commands; command->words && !*refused; command++) {{
			if (vmcfg_perform_one(fds, command) < 0) {{
				fprintf(stderr, "%s: %s\\n", command->words, vmcfg_errno(errno));
				*refused = 1;
			}}
		}}
		return;
	}}
}}
"""


def c(plan: Plan, tree: Tree, main: bool = False) -> str:
    """A C11 file that performs the plan on the caller's descriptors; with `main`, a program that makes the VM."""
    stand_ins = _stand_ins(plan) if main and plan.perform() != "whole" else {}
    every = [*plan.commands, *(command for gic in stand_ins.values() for command in gic)]
    whole = plan.scope == WHOLE_VM
    parts = [
        _top(plan, tree, main),
        INCLUDES,
        _declarations(plan, every, whole),
        "\n#ifndef VMCFG_DECLARATIONS\n",
        _assertions(every),
        COMMAND,
        _table("vmcfg_plan", plan.commands, tree),
        PERFORM_ONE.format(targets="".join(_target_cases(every)), making=MAKING if whole else ""),
        PERFORM_ALL,
    ]
    if main:
        parts.append(_main(plan, stand_ins))
    return "".join([*parts, "#endif\n"])


def _top(plan: Plan, tree: Tree, main: bool) -> str:
    header = plan.header()
    return TOP.format(
        vm=_in_comment(header["vm"]),
        file=_in_comment(tree.file),
        host_kernel=header["host_kernel"],
        count=len(plan.commands),
        perform=performed(plan),
        cautions="".join(f"\n * {sentence}" for sentence in cautions(plan)),
        use=USE_MAIN if main else USE,
    )


def _in_comment(text: str) -> str:
    """A name in ASCII that neither ends a comment nor begins one in it."""
    shown = printable(text).encode("ascii", "backslashreplace").decode()
    return shown.replace("*/", "*\\/").replace("/*", "/\\*")


def _string(text: str) -> str:
    """A C string literal."""
    shown = "".join(
        chr(byte) if byte in _PLAIN else f"\\{byte:03o}"
        for byte in text.encode("utf-8", "surrogateescape")
    )
    return f'"{shown}"'


def _declarations(plan: Plan, every: Iterable[Command], whole: bool) -> str:
    counts = {"vcpu": max(vcpu.id for vcpu in plan.machine.vcpus) + 1}
    members = ["\tint vm;\n", "\tint gic;\n"]
    for kind, number in map(_target, every):
        if kind in NUMBERED:
            counts[kind] = max(counts.get(kind, 0), number + 1)
        elif f"\tint {kind};\n" not in members:
            members.append(f"\tint {kind};\n")
    if whole:
        members.insert(0, "\tint kvm;\t/* /dev/kvm, opened for reading and writing */\n")
    told = {"vcpu": "by the id of KVM_CREATE_VCPU", "its": "by its number"}
    members += [f"\tint {kind}[{count}];\t/* {told[kind]} */\n" for kind, count in counts.items()]
    bits = {phase: f"0x{1 << place:x}u" for place, phase in enumerate(PHASES)}
    return DECLARATIONS.format(
        phases="".join(
            f"/* {PHASE_DOCS[phase]} */\n#define {_phase(phase)} {bits[phase]}\n"
            for phase in PHASES
        ),
        all=f"0x{(1 << len(PHASES)) - 1:x}u",
        who_fills="The caller opens `kvm`; the commands of the phase `create` make the others."
        if whole
        else "Those that no command speaks to are not used.",
        members="".join(members),
    )


def _phase(phase: str) -> str:
    return "VMCFG_" + phase.upper().replace("-", "_")


def _target(command: Command) -> tuple[str, int]:
    """What a command speaks to, and which of several."""
    kind, _, number = command.target.partition(":")
    return kind, int(number or 0)


def _target_cases(every: Iterable[Command]) -> Iterator[str]:
    for kind in sorted({_target(command)[0] for command in every} - {"vm"}):
        index = "[command->number]" if kind in NUMBERED else ""
        yield f"\tcase VMCFG_{kind.upper()}:\n\t\treturn &fds->{kind}{index};\n"


def _assertions(every: Iterable[Command]) -> str:
    """What the headers have a name for, held to the number that is used."""
    asserted = {}
    for command in every:
        row, call = command.row, command.call()
        # The size of what an ioctl takes is in its number, and so held with it.
        asserted[REQUESTS[row.op]] = (
            f"_Static_assert({REQUESTS[row.op]} == {call['request']}, {{}});\n"
        )
        for name, number in _names(command):
            asserted[name] = f"#ifdef {name}\n_Static_assert({name} == {number}, {{}});\n#endif\n"
        if row.attr is not None and row.type in abi.STRUCTS:
            asserted[f"struct {row.type}"] = f"#ifdef {row.attr.name}\n{_layout(row.type)}#endif\n"
    checks = "".join(text.format(_string(name)) for name, text in asserted.items())
    return f"\n/* The numbers of the table are those of this header. */\n{checks}"


def _names(command: Command) -> Iterator[tuple[str, str]]:
    """The uapi's names that a command's words and features stand for, each with its number."""
    row, call, attr = command.row, command.call(), command.attr
    if attr is not None:
        yield attr.group, str(attr.group_id)
        if not attr.name.startswith("0x"):
            yield attr.name, f"{attr.id:#x}"
    elif row.op == "create-device":
        yield command.fields()[3], str(call["device_id"])
    elif row.op == "init-vcpu":
        for feature in command.number:
            yield f"KVM_ARM_VCPU_{feature}", str(VCPU_FEATURES[feature])


def _layout(name: str) -> str:
    """Assertions of a struct's size and of where its fields lie."""
    layout, fields = abi.STRUCTS[name]
    sizes = [struct.calcsize(f"<{code}") for code in layout if code.isalpha() and code != "x"]
    lines = [f"_Static_assert(sizeof(struct {name}) == {struct.calcsize(layout)}, {{0}});\n"]
    for place, field in enumerate(fields):
        lines.append(
            f"_Static_assert(offsetof(struct {name}, {field}) == {sum(sizes[:place])}, {{0}});\n"
        )
    return "".join(lines)


def _table(name: str, commands: Iterable[Command], tree: Tree | None) -> str:
    rows = "".join(_row(command, tree) for command in commands)
    return f"\nstatic const struct vmcfg_command {name}[] = {{\n{rows}\t{{ .words = NULL }}\n}};\n"


def _row(command: Command, tree: Tree | None) -> str:
    kind, number = _target(command)
    row = command.row
    words = f".words = {_string(' '.join(command.fields()))}"
    members = []
    if command.origin is not None and tree is not None:
        span = tree.position(command.origin).span
        members.append(f'.origin = "{span.line}:{span.column}"')
    members += [f".phase = {_phase(row.phase)}", f".target = VMCFG_{kind.upper()}"]
    if kind in NUMBERED:
        members.append(f".number = {number}")
    given = [f".request = {REQUESTS[row.op]}", *_argument(command)]
    return f"\t{{ {words},\n\t  {', '.join(members)},\n\t  {', '.join(given)} }},\n"


def _argument(command: Command) -> Iterator[str]:
    """The members that carry what the ioctl is given."""
    row, call, attr = command.row, command.call(), command.attr
    if attr is not None:
        yield f".group = {attr.group_id}"
        yield f".attr = {attr.id:#x}"
    if row.op == "set-reg":
        yield f".attr = {call['reg_id']}"
    if "data" in call:
        yield f".data = {_pointer(command)}"
    elif row.op in ("create-vm", "create-vcpu"):
        yield f".attr = {call['arg']}"
    elif row.op == "finalize-vcpu":
        yield f".data = &(const int){{ {call['arg']} }}"
    elif row.op == "create-device":
        yield f".data = &(const struct kvm_create_device){{ .type = {call['device_id']} }}"
    elif row.op == "init-vcpu":
        yield f".data = &(const struct kvm_vcpu_init){{ .features = {{ {', '.join(call['feature_words'])} }} }}"
    elif row.op == "add-memory":
        members = f".slot = {call['slot']}, .guest_phys_addr = {call['base']}, .memory_size = {call['size']}"
        yield f".data = &(const struct kvm_userspace_memory_region){{ {members} }}"


def _pointer(command: Command) -> str:
    """What an attribute's address points to."""
    data = command.data
    if data is None:
        raise ValueError(f"only the host knows the value of {' '.join(command.fields())}")
    if command.row.type in _C_TYPES:
        return f"&(const {_C_TYPES[command.row.type]}){{ {_number(command)} }}"
    # A struct that older headers lack, as its bytes; the words have its fields.
    return (
        f"(const unsigned char[]){{ {', '.join(f'0x{byte:02x}' for byte in bytes.fromhex(data))} }}"
    )


def _number(command: Command) -> str:
    number: int = command.number
    return hex(number) if command.row.type == "u64" else str(number)


def _stand_ins(plan: Plan) -> dict[int, tuple[Command, ...]]:
    """For each GIC version that may stand in for the monitor's, the likeliest first, its commands."""
    version = plan.machine.gic_version()
    vcpus = len(plan.machine.vcpus)
    return {
        each: stand_in_gic(plan.machine.gic, each, vcpus)
        for each in ((3, 2) if version is None else (version,))
    }


def _main(plan: Plan, stand_ins: dict[int, tuple[Command, ...]]) -> str:
    errnos = {*RUN_ERRORS, "EACCES", "EBADF", "EMFILE", "ENOTTY"} | {
        name for row in SEQUENCE for name in row.errors
    }
    gics = [
        f'\t\t{{ {abi.DEVICE_TYPES[version][1]}, "GICv{version}", vmcfg_gicv{version} }},\n'
        for version in stand_ins
    ]
    tables = [
        _table(f"vmcfg_gicv{version}", commands, None) for version, commands in stand_ins.items()
    ]
    pmu = any(
        command.row.op == "init-vcpu" and "PMU_V3" in command.number for command in plan.commands
    )
    return MAIN.format(
        errnos="".join(f'\tcase {name}:\n\t\treturn "{name}";\n' for name in sorted(errnos)),
        stand_in_function="".join(tables) + STAND_IN.format(gics="".join(gics))
        if stand_ins
        else "",
        stand_in_call="\tvmcfg_stand_in(&fds, &refused);\n" if stand_ins else "",
        pmu="1" if pmu else "0",
    )
