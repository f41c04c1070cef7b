// SPDX-License-Identifier: GPL-2.0
/*
 * overlapping memory slots (VMC203): memory slot 0x7fff0000-0x7fffffff overlaps memory slot
 * 0x40000000-0x7fffffff.
 * Expected: KVM_SET_USER_MEMORY_REGION fails with EEXIST.
 * Source: kvm_main.c:kvm_set_memory_region, Linux 7.2.
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

static int add_memory(int vm, uint32_t slot, uint64_t base, uint64_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = { slot, flags, base, size, 0 };
	int flags_of_pages = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, flags_of_pages, -1, 0);

	region.userspace_addr = (uintptr_t)pages;
	return pages == MAP_FAILED ? -1 : ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int main(void)
{
	int kvm = open_kvm_dev_path_or_exit();
	int vm, got = 0, expected = EEXIST;

	must(vm = ioctl(kvm, KVM_CREATE_VM, 40), "KVM_CREATE_VM");

	if (!got && (add_memory(vm, 0, 0x40000000, 0x40000000, 0x0)) < 0)
		got = errno;
	if (!got && (add_memory(vm, 1, 0x7fff0000, 0x10000, 0x0)) < 0)
		got = errno;
	TEST_ASSERT(got == expected, "KVM_SET_USER_MEMORY_REGION: expected %s, got %s",
		strerror(expected), strerror(got));
	return 0;
}
