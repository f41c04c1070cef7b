/* A VMM that creates its VM and its GIC, and then executes the plan of sample-configs/minimal.yaml twice. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

#define VMCFG_DECLARATIONS
#include "minimal.c"

static int checked(int result, const char *what)
{
	if (result < 0) {
		printf("%s: %s\n", what, strerror(errno));
		exit(4);
	}
	return result;
}

static void set(int gic, uint32_t group, uint64_t attr, uint64_t value)
{
	struct kvm_device_attr to = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

	checked(ioctl(gic, KVM_SET_DEVICE_ATTR, &to), "the GIC of the VMM");
}

static void report(struct vmcfg_fds *fds, unsigned int phases)
{
	struct vmcfg_failure failure;

	if (vmcfg_perform(fds, phases, NULL, &failure) == 0)
		printf("done\n");
	else
		printf("%u %s %s: %s\n", failure.seq, failure.words, failure.origin, strerror(failure.error));
}

int main(void)
{
	struct kvm_create_device gic = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	int kvm = checked(open("/dev/kvm", O_RDWR), "/dev/kvm");
	struct vmcfg_fds fds;
	unsigned int id;

	vmcfg_fds_init(&fds);
	fds.vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	for (id = 0; id < 2; id++)
		fds.vcpu[id] = checked(ioctl(fds.vm, KVM_CREATE_VCPU, id), "KVM_CREATE_VCPU");
	checked(ioctl(fds.vm, KVM_CREATE_DEVICE, &gic), "KVM_CREATE_DEVICE");
	for (id = 0; id < 2; id++) {
		struct kvm_vcpu_init init;

		checked(ioctl(fds.vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
		init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2 | 1 << KVM_ARM_VCPU_PMU_V3;
		checked(ioctl(fds.vcpu[id], KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	}
	set((int)gic.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, 0x08000000);
	set((int)gic.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, 0x080a0000);
	/* Out of order, before CTRL_INIT of the VMM: the failure must be reported exactly. */
	report(&fds, VMCFG_PMU_INIT);
	set((int)gic.fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
	report(&fds, VMCFG_ALL_PHASES);
	report(&fds, VMCFG_ALL_PHASES);
	return 0;
}
