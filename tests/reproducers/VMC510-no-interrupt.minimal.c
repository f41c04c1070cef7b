// SPDX-License-Identifier: GPL-2.0
/*
 * PMU settings without PMU (VMC510): 'pmu.device' is set, but no vCPU has a PMU interrupt and thus
 * a PMU.
 * Expected: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_SET_PMU) fails with ENODEV.
 * Source: pmu-emul.c:kvm_arm_pmu_v3_set_attr; tested on 6.1 to 7.3.
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

int main(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = ENODEV;
	struct utsname host;
	int gic;
	int vcpu[2] = { 0 };

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");
	must(vcpu[0] = ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(vcpu[1] = ioctl(vm, KVM_CREATE_VCPU, 1), "KVM_CREATE_VCPU");
	must(init_vcpu(vm, vcpu[0], 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[1], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(gic = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3), "KVM_CREATE_DEVICE(KVM_DEV_TYPE_ARM_VGIC_V3)");

	if (!got && (set_attr(vcpu[0], KVM_ARM_VCPU_PMU_V3_CTRL, KVM_ARM_VCPU_PMU_V3_SET_PMU, &(int){ pmu_type("armv8_pmuv3_0") })) < 0)
		got = errno;
	uname(&host);
	printf("Linux %s: KVM_SET_DEVICE_ATTR(KVM_ARM_VCPU_PMU_V3_SET_PMU): expected %s, got %s\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}
