// SPDX-License-Identifier: GPL-2.0
/*
 * duplicate PMU SPI (VMC503): PMU SPIs must differ: vCPUs 0.0.0.0 and 0.0.0.2 both use INTID 40
 * (SPI 8).
 * Expected: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ) fails with EINVAL.
 * Source: Documentation/virt/kvm/devices/vcpu.rst, section 1.1; pmu-emul.c:pmu_irq_is_valid;
 * tested on 6.1 to 7.3.
 */
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

static int must(int result, const char *what)
{
	if (result < 0)
		err(3, "%s", what);
	return result;
}

static int create_device(int vm, uint32_t type)
{
	struct kvm_create_device device = { .type = type };

	return ioctl(vm, KVM_CREATE_DEVICE, &device) < 0 ? -1 : (int)device.fd;
}

static int init_vcpu(int vm, int vcpu, uint32_t features)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return -1;
	init.features[0] |= features;
	return ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}

static int set_attr(int fd, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr argument = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &argument);
}

int main(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = EINVAL;
	struct utsname host;
	int gic;
	int vcpu[3] = { 0 };

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");
	for (int i = 0; i <= 2; i++)
		must(vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
	must(init_vcpu(vm, vcpu[0], 1 << KVM_ARM_VCPU_PSCI_0_2 | 1 << KVM_ARM_VCPU_PMU_V3), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[1], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2 | 1 << KVM_ARM_VCPU_PMU_V3), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[2], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2 | 1 << KVM_ARM_VCPU_PMU_V3), "KVM_ARM_VCPU_INIT");
	must(gic = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3), "KVM_CREATE_DEVICE(KVM_DEV_TYPE_ARM_VGIC_V3)");

	if (!got && (set_attr(vcpu[0], KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &(const int32_t){ 40 })) < 0)
		got = errno;
	if (!got && (set_attr(vcpu[1], KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &(const int32_t){ 41 })) < 0)
		got = errno;
	if (!got && (set_attr(vcpu[2], KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_IRQ, &(const int32_t){ 40 })) < 0)
		got = errno;
	uname(&host);
	printf("Linux %s: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_IRQ): expected %s, got %s\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}
