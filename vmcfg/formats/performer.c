/* vmcfg: heading */
/*
 * The C code of `vmcfg emit --format c`. Text between two markers, such as these lines, is replaced or removed in a plan.
 * Unchanged, this file compiles alone, with a plan of two commands.
 */
/* vmcfg: end of heading */

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

/* vmcfg: phases */
#define VMCFG_CREATE 0x1u
#define VMCFG_CONFIGURE 0x2u
#define VMCFG_ALL_PHASES 0x3u
/* vmcfg: end of phases */

/* vmcfg: descriptors */
/* The file descriptors of the targets. */
struct vmcfg_fds {
	int kvm;	/* /dev/kvm, opened for reading and writing */
	int vm;
	int gic;
	int vcpu[1];	/* by the id of KVM_CREATE_VCPU */
};
/* vmcfg: end of descriptors */

#ifdef __cplusplus
extern "C" {
#endif

/* A command that failed. */
struct vmcfg_failure {
	unsigned int seq;	/* number of the command, from 1 */
	const char *words;	/* the command as in `vmcfg emit` */
	const char *origin;	/* its line:column, or file:line:column in the defaults; NULL for a command without a value */
	int error;		/* errno */
};

/* Sets every descriptor to -1, which is never open: with 0, a command would use standard input. */
void vmcfg_fds_init(struct vmcfg_fds *fds);

/*
 * Executes the commands of `phases` for `target`, in order: "vcpu:3" and "gic" are targets, and NULL is all of them.
 * Returns 0 if all succeeded. At the first failure, fills in *failure and returns -1.
 */
int vmcfg_perform(struct vmcfg_fds *fds, unsigned int phases, const char *target, struct vmcfg_failure *failure);

#ifdef __cplusplus
}
#endif

#ifndef VMCFG_DECLARATIONS
/* vmcfg: assertions */
/* vmcfg: end of assertions */

struct vmcfg_command {
	const char *words;
	const char *origin;
	unsigned int phase;
	enum { VMCFG_VM, VMCFG_GIC, VMCFG_ITS, VMCFG_VCPU, VMCFG_PMU } target;
	unsigned int number;	/* of the vCPU or the ITS */
	unsigned long request;
	uint32_t group;
	uint64_t attr;		/* attribute, register id, or argument of the ioctl */
	const void *data;	/* argument of the ioctl, or value of the attribute or register */
};
/* vmcfg: table */

static const struct vmcfg_command vmcfg_plan[] = {
	{ .words = "create-vm vm - - u64 0x28",
	  .phase = VMCFG_CREATE, .target = VMCFG_VM,
	  .request = KVM_CREATE_VM, .attr = 0x28 },
	{ .words = "create-vcpu vcpu:0 - - u64 0x0",
	  .phase = VMCFG_CREATE, .target = VMCFG_VCPU, .number = 0,
	  .request = KVM_CREATE_VCPU, .attr = 0x0 },
	{ .words = NULL }
};
/* vmcfg: end of table */

/*
 * ioctl() on every libc. A request is an unsigned number of 32 bits. glibc declares it as unsigned long; musl declares it
 * as int, as POSIX does, which is too small for some requests.
 */
static int vmcfg_ioctl(int fd, unsigned long request, uintptr_t argument)
{
#ifdef __GLIBC__
	return ioctl(fd, request, argument);
#else
	return ioctl(fd, (int)request, argument);
#endif
}

static int *vmcfg_fd(struct vmcfg_fds *fds, const struct vmcfg_command *command)
{
	switch (command->target) {
/* vmcfg: targets */
	case VMCFG_VCPU:
		return &fds->vcpu[command->number];
/* vmcfg: end of targets */
	default:
		return &fds->vm;
	}
}

/* Returns -1 and sets errno if the command fails. */
static int vmcfg_perform_one(struct vmcfg_fds *fds, const struct vmcfg_command *command)
{
	int *fd = vmcfg_fd(fds, command);

	switch (command->request) {
	case KVM_SET_DEVICE_ATTR: {
		struct kvm_device_attr attr = {
			.group = command->group,
			.attr = command->attr,
			.addr = (uintptr_t)command->data,
		};

		return vmcfg_ioctl(*fd, KVM_SET_DEVICE_ATTR, (uintptr_t)&attr);
	}
	case KVM_SET_ONE_REG: {
		struct kvm_one_reg reg = { .id = command->attr, .addr = (uintptr_t)command->data };

		return vmcfg_ioctl(*fd, KVM_SET_ONE_REG, (uintptr_t)&reg);
	}
/* vmcfg: making */
	case KVM_CREATE_VM:
		*fd = vmcfg_ioctl(fds->kvm, KVM_CREATE_VM, command->attr);
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
		return vmcfg_ioctl(*fd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot);
	}
	case KVM_CREATE_VCPU:
		*fd = vmcfg_ioctl(fds->vm, KVM_CREATE_VCPU, command->attr);
		return *fd;
	case KVM_CREATE_DEVICE: {
		struct kvm_create_device device;

		memcpy(&device, command->data, sizeof(device));
		if (vmcfg_ioctl(fds->vm, KVM_CREATE_DEVICE, (uintptr_t)&device) < 0)
			return -1;
		*fd = (int)device.fd;
		return 0;
	}
	case KVM_ARM_VCPU_INIT: {
		const struct kvm_vcpu_init *wanted = command->data;
		struct kvm_vcpu_init init;
		size_t i;

		if (vmcfg_ioctl(fds->vm, KVM_ARM_PREFERRED_TARGET, (uintptr_t)&init) < 0)
			return -1;
		for (i = 0; i < sizeof(init.features) / sizeof(init.features[0]); i++)
			init.features[i] |= wanted->features[i];
		return vmcfg_ioctl(*fd, KVM_ARM_VCPU_INIT, (uintptr_t)&init);
	}
	case KVM_ENABLE_CAP:
		return ioctl(*fd, KVM_ENABLE_CAP, command->data);
	case KVM_ARM_VCPU_FINALIZE:
		return vmcfg_ioctl(*fd, KVM_ARM_VCPU_FINALIZE, (uintptr_t)command->data);
/* vmcfg: end of making */
	default:
		errno = ENOTTY;
		return -1;
	}
}

void vmcfg_fds_init(struct vmcfg_fds *fds)
{
	memset(fds, 0xff, sizeof(*fds)); /* every member is an int or an array of int */
}

/* The target is the second word of a command. */
static int vmcfg_is_for(const struct vmcfg_command *command, const char *target)
{
	const char *word = strchr(command->words, ' ') + 1;
	size_t length = target ? strlen(target) : 0;

	return !target || (strncmp(word, target, length) == 0 && word[length] == ' ');
}

int vmcfg_perform(struct vmcfg_fds *fds, unsigned int phases, const char *target, struct vmcfg_failure *failure)
{
	const struct vmcfg_command *command;

	for (command = vmcfg_plan; command->words; command++) {
		if (!(command->phase & phases) || !vmcfg_is_for(command, target))
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
/* vmcfg: main */

/* Returns the name of an errno, which is what the kernel source contains. */
static const char *vmcfg_errno(int error)
{
	static char number[32];

	switch (error) {
/* vmcfg: errnos */
	case EINVAL:
		return "EINVAL";
/* vmcfg: end of errnos */
	default:
		snprintf(number, sizeof(number), "errno %d", error);
		return number;
	}
}

/* Executes one command and prints the answer of KVM. After a rejected command, prints "not reached" instead. */
static void vmcfg_try(struct vmcfg_fds *fds, const struct vmcfg_command *command, int *refused)
{
	const char *outcome = "ok";

	if (*refused) {
		outcome = "not reached";
	} else if (vmcfg_perform_one(fds, command) < 0) {
		outcome = vmcfg_errno(errno);
		*refused = 1;
	}
	printf("%u %s: %s\n", (unsigned int)(command - vmcfg_plan) + 1, command->words, outcome);
}
/* vmcfg: stand-in */
/* vmcfg: stand-in tables */
/* vmcfg: end of stand-in tables */

/* The VMM sets up the GIC: creates one instead, on which no command of the plan depends. */
static void vmcfg_stand_in(struct vmcfg_fds *fds, int *refused)
{
	static const struct {
		uint32_t type;
		const char *name;
		const struct vmcfg_command *commands;
	} gics[] = {
/* vmcfg: gics */
		{ 7, "GICv3", vmcfg_plan },
/* vmcfg: end of gics */
	};
	const size_t last = sizeof(gics) / sizeof(gics[0]) - 1;
	const struct vmcfg_command *command;
	size_t i;

	for (i = 0; !*refused && i <= last; i++) {
		struct kvm_create_device test = { .type = gics[i].type, .flags = KVM_CREATE_DEVICE_TEST };

		if (i < last && vmcfg_ioctl(fds->vm, KVM_CREATE_DEVICE, (uintptr_t)&test) < 0)
			continue;
		fprintf(stderr, "vmcfg: the VMM sets up the GIC; this program uses a %s instead\n", gics[i].name);
		for (command = gics[i].commands; command->words && !*refused; command++) {
			if (vmcfg_perform_one(fds, command) < 0) {
				fprintf(stderr, "%s: %s\n", command->words, vmcfg_errno(errno));
				*refused = 1;
			}
		}
		return;
	}
}
/* vmcfg: end of stand-in */

/* Enters a vCPU: KVM makes every check of the first KVM_RUN, but does not execute guest instructions. */
static int vmcfg_enter(int fd, size_t size)
{
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (run == MAP_FAILED)
		return -1;
	run->immediate_exit = 1;
	return vmcfg_ioctl(fd, KVM_RUN, 0) < 0 && errno != EINTR ? -1 : 0;
}

int main(void)
{
	static struct vmcfg_fds fds;
	const struct vmcfg_command *command;
	struct rlimit files;
	int refused = 0;
	int size;

	/* Every vCPU is an open file, and 512 of them can exceed the usual limit. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	vmcfg_fds_init(&fds);
	fds.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	size = fds.kvm < 0 ? -1 : vmcfg_ioctl(fds.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0) {
		perror("/dev/kvm");
		return 3;
	}
/* vmcfg: pmu check */
	if (vmcfg_ioctl(fds.kvm, KVM_CHECK_EXTENSION, KVM_CAP_ARM_PMU_V3) <= 0) {
		fprintf(stderr, "this host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)\n");
		return 3;
	}
/* vmcfg: end of pmu check */
	for (command = vmcfg_plan; command->phase == VMCFG_CREATE; command++)
		vmcfg_try(&fds, command, &refused);
/* vmcfg: stand-in call */
	vmcfg_stand_in(&fds, &refused);
/* vmcfg: end of stand-in call */
	for (; command->words; command++)
		vmcfg_try(&fds, command, &refused);
	if (refused)
		return 1;
	for (command = vmcfg_plan; command->words; command++) {
		const char *outcome = "ok";

		if (command->request != KVM_CREATE_VCPU)
			continue;
		if (vmcfg_enter(fds.vcpu[command->number], (size_t)size) < 0) {
			outcome = vmcfg_errno(errno);
			refused = 1;
		}
		printf("run vcpu:%u: %s\n", command->number, outcome);
	}
	return refused;
}
/* vmcfg: end of main */
#endif
