// SPDX-License-Identifier: GPL-2.0
/*
 * MPIDR lost at reset (VMC701): Linux before 6.10 loses the MPIDR of vCPU 0.0.200.1 (id 1) at a
 * reset; the oldest host kernel is 6.1 (default).
 * Expected: KVM_SET_ONE_REG(MPIDR_EL1) succeeds.
 * Source: Linux commit e016333745c7; tested on 6.1 and 6.12.
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

static int init_vcpu(int vm, int vcpu, uint32_t features)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return -1;
	init.features[0] |= features;
	return ioctl(vcpu, KVM_ARM_VCPU_INIT, &init);
}

static int set_reg(int vcpu, uint64_t id, const void *value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)value };

	return ioctl(vcpu, KVM_SET_ONE_REG, &reg);
}

int main(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = 0;
	struct utsname host;
	int vcpu[2] = { 0 };

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");
	must(vcpu[0] = ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(vcpu[1] = ioctl(vm, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	must(init_vcpu(vm, vcpu[0], 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[1], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");

	if (!got && (set_reg(vcpu[1], 0x603000000013c005, &(const uint64_t){ 0x8000c801 })) < 0)
		got = errno;
	uname(&host);
	printf("Linux %s: KVM_SET_ONE_REG(MPIDR_EL1): expected %s, got %s\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}
