// SPDX-License-Identifier: GPL-2.0
/*
 * too few redistributors (VMC401): the regions hold only 2 redistributors for 3 vCPUs.
 * Expected: KVM_RUN fails with ENXIO at the first run.
 * Source: vgic-mmio-v3.c:vgic_register_redist_iodev; tested on 6.1 to 7.3.
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

int main(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = ENXIO;
	struct utsname host;
	int gic;
	int vcpu[3] = { 0 };

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");
	for (int i = 0; i <= 2; i++)
		must(vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
	must(gic = create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3), "KVM_CREATE_DEVICE(KVM_DEV_TYPE_ARM_VGIC_V3)");
	must(init_vcpu(vm, vcpu[0], 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[1], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(init_vcpu(vm, vcpu[2], 1 << KVM_ARM_VCPU_POWER_OFF | 1 << KVM_ARM_VCPU_PSCI_0_2), "KVM_ARM_VCPU_INIT");
	must(set_attr(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &(const uint64_t){ 0x8000000 }), "KVM_SET_DEVICE_ATTR(KVM_VGIC_V3_ADDR_TYPE_DIST)");
	must(set_attr(gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &(const uint64_t){ 0x200000080a0000 }), "KVM_SET_DEVICE_ATTR(KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION)");
	must(set_attr(gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL), "KVM_SET_DEVICE_ATTR(KVM_DEV_ARM_VGIC_CTRL_INIT)");

	if (run_vcpus(kvm, vcpu, sizeof(vcpu) / sizeof(vcpu[0])) < 0)
		got = errno;
	uname(&host);
	printf("Linux %s: KVM_RUN: expected %s, got %s\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}
