/*
 * Creates VMs and uses their descriptors in every way that a record must follow. The comment of each call is its VM and
 * its target.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kvm.h>

static int vcpu_init(int vm, int vcpu)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init))
		return -1;
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	return ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}

int main(void)
{
	struct kvm_create_device gic = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint32_t nr_irqs = 64;
	struct kvm_device_attr attr = {
		.group = KVM_DEV_ARM_VGIC_GRP_NR_IRQS, .addr = (uint64_t)(uintptr_t)&nr_irqs,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int first, second, copy, vcpu, number;
	pid_t child;

	if (kvm < 0)
		return 1;
	first = ioctl(kvm, KVM_CREATE_VM, 40UL);		/* 1 vm */
	second = ioctl(kvm, KVM_CREATE_VM, 40UL);		/* 2 vm */
	copy = dup(first);
	close(second);
	vcpu = ioctl(copy, KVM_CREATE_VCPU, 0UL);		/* 1 vcpu:0, with the number of the second VM */
	if (vcpu != second)
		return 2;
	if (vcpu_init(first, vcpu))				/* 1 vcpu:0 */
		return 3;
	number = fcntl(vcpu, F_DUPFD_CLOEXEC, 100);
	if (dup3(vcpu, first, 0) != first)
		return 4;
	if (vcpu_init(copy, first))				/* 1 vcpu:0, with the number of the first VM */
		return 5;
	child = fork();
	if (child == 0) {
		struct kvm_vcpu_init init = { .features = { 1u << KVM_ARM_VCPU_PSCI_0_2 } };

		/* 1 vcpu:0, in a child: KVM answers only the process that created the VM (EIO) */
		if (!ioctl(number, KVM_ARM_VCPU_INIT, &init))
			_exit(6);
		second = ioctl(kvm, KVM_CREATE_VM, 40UL);	/* 3 vm */
		_exit(ioctl(second, KVM_CREATE_VCPU, 3UL) < 0);	/* 3 vcpu:3 */
	}
	if (waitpid(child, &number, 0) != child || number)
		return 7;
	if (ioctl(copy, KVM_CREATE_DEVICE, &gic))		/* 1 gic */
		return 8;
	return ioctl(gic.fd, KVM_SET_DEVICE_ATTR, &attr) ? 9 : 0;	/* 1 gic */
}
