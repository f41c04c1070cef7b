// SPDX-License-Identifier: GPL-2.0
/*
 * overlapping SMCCC ranges (VMC607): SMCCC filter range 0x84000005-0x84000005 overlaps range
 * 0x84000000-0x8400000f.
 * Expected: KVM_SET_DEVICE_ATTR(KVM_ARM_VM_SMCCC_FILTER) fails with EEXIST.
 * Source: hypercalls.c:kvm_smccc_set_filter; tested on 6.12 to 7.3.
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
#ifndef KVM_ARM_VM_SMCCC_CTRL
#define KVM_ARM_VM_SMCCC_CTRL 0
#endif
#ifndef KVM_ARM_VM_SMCCC_FILTER
#define KVM_ARM_VM_SMCCC_FILTER 0x0
#endif

static int must(int result, const char *what)
{
	if (result < 0)
		err(3, "%s", what);
	return result;
}

static int set_attr(int fd, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr argument = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(fd, KVM_SET_DEVICE_ATTR, &argument);
}

int main(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm, got = 0, expected = EEXIST;
	struct utsname host;

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");

	if (!got && (set_attr(vm, KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER, (const unsigned char[]){ 0x00, 0x00, 0x00, 0x84, 0x10, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 })) < 0)
		got = errno;
	if (!got && (set_attr(vm, KVM_ARM_VM_SMCCC_CTRL, KVM_ARM_VM_SMCCC_FILTER, (const unsigned char[]){ 0x05, 0x00, 0x00, 0x84, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00 })) < 0)
		got = errno;
	uname(&host);
	printf("Linux %s: KVM_SET_DEVICE_ATTR(KVM_ARM_VM_SMCCC_FILTER): expected %s, got %s\n", host.release,
		strerror(expected), strerror(got));
	return got != expected;
}
