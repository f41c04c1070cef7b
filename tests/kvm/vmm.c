/*
 * A VMM without code of vmcfg: creates a VM, its vCPUs with the ids 0 to VCPUS - 1, and a GICv3. After its CTRL_INIT,
 * it executes a block of `vmcfg emit --numbers`, then one of `vmcfg emit --get --numbers`. Then it enters each vCPU
 * once, without executing guest instructions.
 *
 *     vmm VCPUS < BLOCK
 *
 * Prints every line that KVM rejects or to which KVM returns another value, with the reason, and then the numbers.
 * Exit codes: 0 if there was no such line, 1 if there was one, 3 if a line is invalid or the VM cannot be created.
 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <linux/kvm.h>

enum { MOST_VCPUS = 512, MOST_BYTES = 32 };

static int vm, gic, vcpus[MOST_VCPUS];
static unsigned int count;

static void give_up(const char *what)
{
	perror(what);
	exit(3);
}

static void set_gic(uint32_t group, uint64_t attr, uint64_t value)
{
	struct kvm_device_attr device_attr = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

	if (ioctl(gic, KVM_SET_DEVICE_ATTR, &device_attr) < 0)
		give_up("the GIC of the VMM");
}

static void make_memory(uint32_t slot, uint64_t base, uint64_t size)
{
	struct kvm_userspace_memory_region region = { .slot = slot, .guest_phys_addr = base, .memory_size = size };
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	region.userspace_addr = (uintptr_t)pages;
	if (pages == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		give_up("memory");
}

static void make_vm(int kvm)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	struct kvm_vcpu_init init;
	unsigned int i;

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		give_up("KVM_CREATE_VM");
	make_memory(0, 0x40000000, 0x10000000);
	make_memory(1, 0x090a0000, 0x10000);
	for (i = 0; i < count; i++) {
		vcpus[i] = ioctl(vm, KVM_CREATE_VCPU, i);
		if (vcpus[i] < 0)
			give_up("KVM_CREATE_VCPU");
	}
	if (ioctl(vm, KVM_CREATE_DEVICE, &device) < 0)
		give_up("KVM_CREATE_DEVICE");
	gic = (int)device.fd;
	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		give_up("KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2 | 1u << KVM_ARM_VCPU_PMU_V3;
	for (i = 0; i < count; i++) {
		if (i == 1)
			init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
		if (ioctl(vcpus[i], KVM_ARM_VCPU_INIT, &init) < 0)
			give_up("KVM_ARM_VCPU_INIT");
	}
	/* KVM reads only the low half of the value for a 32-bit attribute. */
	set_gic(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, 992);
	set_gic(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, 0x08000000);
	set_gic(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, 0x0a000000);
	set_gic(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
}

static int descriptor(const char *target)
{
	unsigned int id;

	if (strcmp(target, "vm") == 0)
		return vm;
	if (strncmp(target, "vcpu:", 5) == 0 && (id = (unsigned int)strtoul(target + 5, NULL, 10)) < count)
		return vcpus[id];
	fprintf(stderr, "unknown target: %s\n", target);
	exit(3);
}

/* Returns whether KVM executed the command and, if it reads a value, whether this is the expected one. */
static int perform(const char *op, int fd, uint32_t group, uint64_t attr, const unsigned char *data, size_t length)
{
	unsigned char held[MOST_BYTES];
	struct kvm_device_attr device_attr = { .group = group, .attr = attr, .addr = length ? (uintptr_t)held : 0 };
	struct kvm_one_reg reg = { .id = attr, .addr = (uintptr_t)held };

	memcpy(held, data, length);
	if (strcmp(op, "set-attr") == 0)
		return ioctl(fd, KVM_SET_DEVICE_ATTR, &device_attr) == 0;
	if (strcmp(op, "set-reg") == 0)
		return ioctl(fd, KVM_SET_ONE_REG, &reg) == 0;
	/* Different from any expected value, to detect a call that writes nothing. */
	memset(held, 0x5a, sizeof(held));
	errno = 0;
	if (strcmp(op, "get-attr") == 0)
		return ioctl(fd, KVM_GET_DEVICE_ATTR, &device_attr) == 0 && memcmp(held, data, length) == 0;
	if (strcmp(op, "get-reg") == 0)
		return ioctl(fd, KVM_GET_ONE_REG, &reg) == 0 && memcmp(held, data, length) == 0;
	fprintf(stderr, "unknown command: %s\n", op);
	exit(3);
}

static void read_hex(const char *hex, unsigned char *data, size_t length)
{
	unsigned int byte;
	size_t i;

	for (i = 0; i < length; i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1) {
			fprintf(stderr, "%s must have %zu bytes\n", hex, length);
			exit(3);
		}
		data[i] = (unsigned char)byte;
	}
}

static int enter(int fd, size_t size)
{
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (run == MAP_FAILED)
		return 0;
	run->immediate_exit = 1;
	return ioctl(fd, KVM_RUN, 0) < 0 && errno == EINTR;
}

int main(int argc, char **argv)
{
	char line[256], op[9], target[16], hex[2 * MOST_BYTES + 1];
	unsigned int lines = 0, done = 0, entered = 0, length, i;
	unsigned char data[MOST_BYTES];
	struct rlimit files;
	uint32_t group;
	uint64_t attr;
	int kvm, size;

	count = argc == 2 ? (unsigned int)strtoul(argv[1], NULL, 10) : 0;
	if (count < 1 || count > MOST_VCPUS) {
		fprintf(stderr, "usage: vmm VCPUS < BLOCK\n");
		return 3;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	size = kvm < 0 ? -1 : ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		give_up("/dev/kvm");
	make_vm(kvm);
	while (fgets(line, sizeof(line), stdin)) {
		lines++;
		if (sscanf(line, "%8s %15s %" SCNu32 " %" SCNx64 " %u %64s", op, target, &group, &attr, &length, hex) != 6 ||
		    length > MOST_BYTES) {
			fprintf(stderr, "invalid line: %s", line);
			return 3;
		}
		read_hex(hex, data, length);
		if (perform(op, descriptor(target), group, attr, data, length))
			done++;
		else
			printf("%s: %s", errno ? strerror(errno) : "another value", line);
	}
	for (i = 0; i < count; i++) {
		if (enter(vcpus[i], (size_t)size))
			entered++;
		else
			printf("%s: vcpu:%u does not run\n", strerror(errno), i);
	}
	printf("%u of %u lines, %u of %u vCPUs\n", done, lines, entered, count);
	return done == lines && entered == count ? 0 : 1;
}
