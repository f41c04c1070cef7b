/* vmcfg: heading */
/*
 * The C code of `vmcfg emit --scope state --format c`. Text between two markers, such as these lines, is replaced in a
 * file for a VM. Unchanged, this file compiles alone, with two registers of a VM of two vCPUs.
 */
/* vmcfg: end of heading */

#include <stdint.h>
#ifndef VMCFG_DECLARATIONS
#include <errno.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>
#endif

/* vmcfg: sizes */
#define VMCFG_STATE_VALUES 3
#define VMCFG_STATE_ITSS 1
/* vmcfg: end of sizes */

/* The file descriptors of the vGIC and, in the order of the description, of its ITSs. */
struct vmcfg_state_fds {
	int gic;
	int its[VMCFG_STATE_ITSS];
};

/* The access that failed. */
struct vmcfg_state_failure {
	const char *name;	/* of the register, or of the first of several */
	uint32_t group;		/* of the device attribute */
	uint64_t attr;
	int error;		/* errno */
};

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Saves the state of the vGIC: one value for each line of `vmcfg emit --scope state --get` that reads a register, in the
 * same order. Call it while no vCPU is in KVM_RUN, and save the memory of the guest after it: KVM writes state of LPIs
 * there. Returns 0, or -1 with *failure. The error is ENOTSUP if the host has more than 32 levels of priority, for
 * which KVM has registers that are not among the lines.
 */
int vmcfg_save_state(const struct vmcfg_state_fds *fds, uint64_t values[VMCFG_STATE_VALUES],
	struct vmcfg_state_failure *failure);

/*
 * Restores the state of the vGIC from these values. Call it after the plan of the VM has been executed and the memory of
 * the guest has been restored, before the first KVM_RUN. Returns 0, or -1 with *failure.
 */
int vmcfg_restore_state(const struct vmcfg_state_fds *fds, const uint64_t values[VMCFG_STATE_VALUES],
	struct vmcfg_state_failure *failure);

#ifdef __cplusplus
}
#endif

#ifndef VMCFG_DECLARATIONS
/* vmcfg: vcpus */
/* The vCPUs in attributes: the affinities of each, in the order of their ids. */
static const uint32_t vmcfg_state_vcpus[] = { 0x0, 0x1 };
/* vmcfg: end of vcpus */

enum vmcfg_state_use {
	VMCFG_KEPT,	/* saved, and restored */
	VMCFG_CLEARED,	/* written with all bits set, before a register that only sets bits is restored */
	VMCFG_SAVING,	/* a command of a save */
	VMCFG_RESTORING	/* a command of a restore */
};

/* One register, or several whose numbers in attributes differ by `step`. */
struct vmcfg_state_row {
	const char *name;
	enum { VMCFG_ONCE, VMCFG_ONCE_BY_VCPU, VMCFG_EACH_VCPU, VMCFG_EACH_ITS } owner;
	enum vmcfg_state_use use;
	uint32_t group, number, count, step;
	uint32_t size;	/* bytes that KVM reads and writes */
};
/* vmcfg: rows */

static const struct vmcfg_state_row vmcfg_state_rows[] = {
	{ "GICD_IIDR", VMCFG_ONCE, VMCFG_KEPT, 1, 0x8, 1, 4, 4 },
	{ "ICC_PMR_EL1", VMCFG_EACH_VCPU, VMCFG_KEPT, 6, 0xc230, 1, 4, 8 },
	{ NULL, VMCFG_ONCE, VMCFG_KEPT, 0, 0, 0, 0, 0 }
};
/* vmcfg: end of rows */

enum { VMCFG_SYSREGS = 6, VMCFG_ICC_CTLR_EL1 = 0xc664 };

/* Returns whether KVM has no more registers of active priorities than the rows, by the value of ICC_CTLR_EL1. */
static int vmcfg_state_is_whole(const struct vmcfg_state_row *row, uint64_t value)
{
	unsigned int priority_bits = ((unsigned int)(value >> 8) & 7) + 1;

	return row->group != VMCFG_SYSREGS || row->number != VMCFG_ICC_CTLR_EL1 || priority_bits <= 5;
}

static int vmcfg_state_ioctl(int fd, unsigned long request, struct kvm_device_attr *attr)
{
#ifdef __GLIBC__
	return ioctl(fd, request, attr);
#else
	return ioctl(fd, (int)request, attr); /* musl declares the request as int */
#endif
}

/* Saves or restores one register, or executes one command. Returns -1 and sets errno if that fails. */
static int vmcfg_state_access(int fd, const struct vmcfg_state_row *row, uint64_t number, int saves, uint64_t *value)
{
	uint64_t wide = saves ? 0 : *value;
	uint32_t narrow = (uint32_t)wide;
	struct kvm_device_attr attr = {
		.group = row->group,
		.attr = number,
		.addr = row->size == 0 ? 0 : row->size == 4 ? (uintptr_t)&narrow : (uintptr_t)&wide,
	};

	if (vmcfg_state_ioctl(fd, saves ? KVM_GET_DEVICE_ATTR : KVM_SET_DEVICE_ATTR, &attr) < 0)
		return -1;
	if (!saves)
		return 0;
	*value = row->size == 4 ? narrow : wide;
	errno = ENOTSUP;
	return vmcfg_state_is_whole(row, *value) ? 0 : -1;
}

static int vmcfg_state_walk(const struct vmcfg_state_fds *fds, int saves, uint64_t *values,
	struct vmcfg_state_failure *failure)
{
	const size_t vcpus = sizeof(vmcfg_state_vcpus) / sizeof(vmcfg_state_vcpus[0]);
	const struct vmcfg_state_row *row;
	uint32_t place;
	size_t owner;

	for (row = vmcfg_state_rows; row->name; row++) {
		size_t owners = row->owner == VMCFG_EACH_VCPU ? vcpus : row->owner == VMCFG_EACH_ITS ? VMCFG_STATE_ITSS : 1;
		int by_vcpu = row->owner == VMCFG_EACH_VCPU || row->owner == VMCFG_ONCE_BY_VCPU;

		if (row->use == (saves ? VMCFG_RESTORING : VMCFG_SAVING) || (saves && row->use == VMCFG_CLEARED))
			continue;
		for (place = 0; place < row->count; place++) {
			for (owner = 0; owner < owners; owner++) {
				uint64_t number = row->number + (uint64_t)place * row->step, all = 0xffffffff;
				int fd = row->owner == VMCFG_EACH_ITS ? fds->its[owner] : fds->gic;
				int is_kept = row->use == VMCFG_KEPT;

				if (by_vcpu)
					number |= (uint64_t)vmcfg_state_vcpus[owner] << 32;
				if (vmcfg_state_access(fd, row, number, saves && is_kept, is_kept ? values++ : &all) < 0) {
					failure->name = row->name;
					failure->group = row->group;
					failure->attr = number;
					failure->error = errno;
					return -1;
				}
			}
		}
	}
	return 0;
}

int vmcfg_save_state(const struct vmcfg_state_fds *fds, uint64_t values[VMCFG_STATE_VALUES],
	struct vmcfg_state_failure *failure)
{
	return vmcfg_state_walk(fds, 1, values, failure);
}

int vmcfg_restore_state(const struct vmcfg_state_fds *fds, const uint64_t values[VMCFG_STATE_VALUES],
	struct vmcfg_state_failure *failure)
{
	return vmcfg_state_walk(fds, 0, (uint64_t *)(uintptr_t)values, failure);
}
#endif
