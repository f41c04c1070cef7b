// SPDX-License-Identifier: GPL-2.0
/*
 * MPIDR lost at reset (VMC701): Linux before 6.10 loses the MPIDR of vCPU 0.0.200.1 (id 1) at a
 * reset; the oldest host kernel is 6.1 (default).
 * Expected: KVM_SET_ONE_REG(MPIDR_EL1) succeeds.
 * Source: Linux commit e016333745c7; tested on 6.1 and 6.12.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "test_util.h"
#include "kvm_util.h"

static int must(int result, const char *what)
{
	TEST_ASSERT(result >= 0, "%s failed: %s", what, strerror(errno));
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
	int kvm = open_kvm_dev_path_or_exit();
	int vm, got = 0, expected = 0;
	int vcpu[2] = { 0 };

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");
	must(vcpu[0] = ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(vcpu[1] = ioctl(vm, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	must(init_vcpu(vm, vcpu[0], 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[1], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");

	if (!got && (set_reg(vcpu[1], 0x603000000013c005, &(const uint64_t){ 0x8000c801 })) < 0)
		got = errno;
	TEST_ASSERT(got == expected, "KVM_SET_ONE_REG(MPIDR_EL1): expected %s, got %s",
		strerror(expected), strerror(got));
	return 0;
}
