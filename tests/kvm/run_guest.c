/*
 * A small VMM that knows nothing about a VM except its plan: it executes `vmcfg emit --scope vm --format jsonl`, copies
 * files into the memory of the VM, and runs all vCPUs until the guest ends, or until a time limit.
 *
 *     run-guest SECONDS PLAN STARTS [FILE ADDRESS]...
 *
 * STARTS has these lines:
 *
 *     vcpu:ID PC X0 X1 ...    this vCPU starts at PC with these registers, also if the plan says POWER_OFF
 *     raise INTID             raises the line of an SPI as soon as all vCPUs of STARTS are ready
 *
 * It prints each value that the guest stores at REPORTS ("vcpu:1 0x20 0x17": the vCPU, the offset, and the value), each
 * character that it writes to the UART, or in groups of eight to TEXT, and at last "end" and the reason: "done" if all
 * vCPUs of STARTS are done, "off" if the guest switched the VM off, or "time". Then it also prints whether each vCPU
 * that is not done "runs" or is "stopped": KVM_RUN then uses the CPU, but the guest executes no instruction.
 *
 * Exit codes: 0 if the guest was started; 1 if KVM rejects a command, which is printed; 3 if the arguments or the plan
 * are invalid.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>

/* Addresses without memory, at which stores of the guest are reports. */
enum { REPORTS = 0x50000000, UART = 0x50001000, TEXT = 0x50002000, FRAME = 0x1000 };
enum { READY = 0x18, TAKEN = 0x20, DONE = 0x30 }; /* offsets of reports that this program reads */
enum { UART_DATA = 0, UART_IIR = 2, UART_LCR = 3, UART_LSR = 5, DIVISOR_ACCESS = 0x80 };
enum { MOST = 64, MOST_BYTES = 64, TICK_US = 2000, GRACE_US = 30000, WATCHED_US = 300000 };

#define CORE_REG(words) (0x6030000000100000u + (words))
#define X(n) CORE_REG(2 * (n))
#define PC CORE_REG(0x40)
#define COUNT_OF_LOOPS X(19) /* in guest.S */

struct object {
	char name[16];
	int fd;
};

struct vcpu {
	const char *name;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	int is_started;
	atomic_int ready, done, taken, kicks;
	uint32_t lowered; /* the SPI whose line is lowered when it is taken, or 0 */
	uint64_t loops[2], cpu_us[2]; /* at the first two kicks */
};

struct memory {
	uint64_t base, size;
	char *pages;
};

static int kvm;
static struct object objects[2 * MOST];
static struct memory memory[MOST];
static struct vcpu vcpus[MOST];
static unsigned int object_count, memory_count, vcpu_count;
static atomic_int is_off, is_divisor, is_stopping;

static void give_up(int code, const char *what)
{
	printf("end %s: %s\n", what, errno ? strerror(errno) : "invalid");
	fflush(stdout);
	_exit(code);
}

static int descriptor(const char *name)
{
	unsigned int i;

	for (i = 0; i < object_count; i++)
		if (strcmp(objects[i].name, name) == 0)
			return objects[i].fd;
	errno = 0;
	give_up(3, name);
	return -1;
}

static int add_object(const char *name, int fd)
{
	if (fd >= 0) {
		snprintf(objects[object_count].name, sizeof(objects[0].name), "%s", name);
		objects[object_count++].fd = fd;
	}
	return fd;
}

/* Reading a line of the plan: vmcfg writes its keys without spaces, and no text contains a quoted key. */

static const char *value_of(const char *line, const char *key)
{
	char quoted[32];
	const char *found;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	found = strstr(line, quoted);
	if (!found)
		return NULL;
	found += strlen(quoted);
	return *found == '[' ? found + 1 : found;
}

static uint64_t number(const char *line, const char *key)
{
	const char *text = value_of(line, key);

	return text ? strtoull(text + (*text == '"'), NULL, 0) : 0;
}

static void word(const char *line, const char *key, char *to, size_t size)
{
	const char *text = value_of(line, key);
	size_t length = text ? strcspn(text + 1, "\"") : size;

	if (length >= size || *text != '"') {
		errno = 0;
		give_up(3, key);
	}
	memcpy(to, text + 1, length);
	to[length] = 0;
}

static size_t bytes_of(const char *line, unsigned char *data)
{
	char hex[2 * MOST_BYTES + 1];
	unsigned int byte;
	size_t i;

	if (!value_of(line, "data"))
		return 0;
	word(line, "data", hex, sizeof(hex));
	for (i = 0; sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		data[i] = (unsigned char)byte;
	return i;
}

/* Each function executes one command of the plan. */

static int add_memory(int vm, const char *line)
{
	struct kvm_userspace_memory_region region = { .slot = (uint32_t)number(line, "slot") };
	struct memory *made = &memory[region.slot];

	/* A second VM of the same plan has the memory of the first one. */
	if (region.slot >= memory_count) {
		memory_count = region.slot + 1;
		made->base = number(line, "base");
		made->size = number(line, "size");
		made->pages = mmap(NULL, made->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (made->pages == MAP_FAILED)
		return -1;
	region.flags = (uint32_t)number(line, "flags");
	region.guest_phys_addr = made->base;
	region.memory_size = made->size;
	region.userspace_addr = (uintptr_t)made->pages;
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int create_vcpu(int vm, const char *target, uint64_t id)
{
	struct vcpu *made = &vcpus[vcpu_count];
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	made->fd = add_object(target, ioctl(vm, KVM_CREATE_VCPU, id));
	if (made->fd < 0)
		return -1;
	made->name = objects[object_count - 1].name;
	made->is_started = made->ready = made->done = made->taken = 0;
	made->lowered = 0;
	made->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, made->fd, 0);
	vcpu_count++;
	return made->run == MAP_FAILED ? -1 : 0;
}

static int create_device(int vm, const char *target, uint32_t type)
{
	struct kvm_create_device device = { .type = type };

	if (ioctl(vm, KVM_CREATE_DEVICE, &device) < 0)
		return -1;
	return add_object(target, (int)device.fd);
}

static int init_vcpu(int vm, int fd, uint32_t features)
{
	struct kvm_vcpu_init init;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return -1;
	init.features[0] |= features;
	return ioctl(fd, KVM_ARM_VCPU_INIT, &init);
}

static int enable_cap(int vm, const char *line)
{
	struct kvm_enable_cap cap = { .cap = (uint32_t)number(line, "cap_id"), .args = { number(line, "args") } };

	return ioctl(vm, KVM_ENABLE_CAP, &cap);
}

static int perform(const char *line)
{
	char op[16], target[16];
	unsigned char data[MOST_BYTES];
	size_t length = bytes_of(line, data);
	struct kvm_device_attr attr = { .group = (uint32_t)number(line, "group_id"), .attr = number(line, "attr_id") };
	struct kvm_one_reg reg = { .id = number(line, "reg_id"), .addr = (uintptr_t)data };
	int feature = (int)number(line, "arg");

	word(line, "op", op, sizeof(op));
	if (strcmp(op, "plan") == 0 || strcmp(op, "end") == 0)
		return 0;
	word(line, "target", target, sizeof(target));
	attr.addr = length ? (uintptr_t)data : 0;
	if (strcmp(op, "create-vm") == 0)
		return add_object(target, ioctl(kvm, KVM_CREATE_VM, number(line, "arg")));
	if (strcmp(op, "add-memory") == 0)
		return add_memory(descriptor("vm"), line);
	if (strcmp(op, "enable-cap") == 0)
		return enable_cap(descriptor("vm"), line);
	if (strcmp(op, "create-vcpu") == 0)
		return create_vcpu(descriptor("vm"), target, number(line, "arg"));
	if (strcmp(op, "create-device") == 0)
		return create_device(descriptor("vm"), target, (uint32_t)number(line, "device_id"));
	if (strcmp(op, "init-vcpu") == 0)
		return init_vcpu(descriptor("vm"), descriptor(target), (uint32_t)number(line, "feature_words"));
	if (strcmp(op, "finalize-vcpu") == 0)
		return ioctl(descriptor(target), KVM_ARM_VCPU_FINALIZE, &feature);
	if (strcmp(op, "set-reg") == 0)
		return ioctl(descriptor(target), KVM_SET_ONE_REG, &reg);
	if (strcmp(op, "set-attr") == 0)
		return ioctl(descriptor(target), KVM_SET_DEVICE_ATTR, &attr);
	errno = 0;
	return -1;
}

static void perform_plan(const char *path)
{
	FILE *plan = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (!plan)
		give_up(3, path);
	while (getline(&line, &size, plan) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (perform(line) < 0)
			give_up(1, line);
	}
	free(line);
	fclose(plan);
}

/* The guest */

static void load(const char *path, uint64_t address)
{
	FILE *file = fopen(path, "r");
	unsigned int i;

	for (i = 0; file && i < memory_count; i++) {
		struct memory *slot = &memory[i];

		if (address >= slot->base && address < slot->base + slot->size) {
			uint64_t offset = address - slot->base;

			if (fread(slot->pages + offset, 1, slot->size - offset, file) > 0 && feof(file)) {
				fclose(file);
				return;
			}
		}
	}
	give_up(3, path);
}

static void set_register(int fd, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ioctl(fd, KVM_SET_ONE_REG, &reg) < 0)
		give_up(1, "set-reg");
}

static uint64_t get_register(int fd, uint64_t id)
{
	uint64_t value = 0;
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	if (ioctl(fd, KVM_GET_ONE_REG, &reg) < 0)
		give_up(1, "get-reg");
	return value;
}

static void start(struct vcpu *vcpu, char *numbers)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };
	char *text = strtok(numbers, " \n");
	unsigned int n;

	set_register(vcpu->fd, PC, strtoull(text ? text : "", NULL, 0));
	for (n = 0; (text = strtok(NULL, " \n")); n++)
		set_register(vcpu->fd, X(n), strtoull(text, NULL, 0));
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) < 0)
		give_up(1, "KVM_SET_MP_STATE");
	vcpu->is_started = 1;
}

/* Executes the lines of STARTS, and returns the INTID of "raise", or 0. */
static uint32_t start_all(const char *path)
{
	FILE *starts = fopen(path, "r");
	char line[512], name[16];
	uint32_t raised = 0;
	unsigned int i;
	int length;

	if (!starts)
		give_up(3, path);
	while (fgets(line, sizeof(line), starts)) {
		if (sscanf(line, "raise %" SCNu32, &raised) == 1)
			continue;
		if (sscanf(line, "%15s %n", name, &length) != 1)
			give_up(3, path);
		for (i = 0; i < vcpu_count; i++)
			if (strcmp(vcpus[i].name, name) == 0)
				start(&vcpus[i], line + length);
	}
	fclose(starts);
	return raised;
}

static int set_line(uint32_t intid, uint32_t level)
{
	struct kvm_irq_level line = { .irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | intid, .level = level };

	return ioctl(descriptor("vm"), KVM_IRQ_LINE, &line);
}

static void stored(struct vcpu *vcpu, uint64_t address, const unsigned char *data, uint32_t length)
{
	uint64_t value = 0;

	memcpy(&value, data, length);
	if (address == UART + UART_LCR)
		is_divisor = (value & DIVISOR_ACCESS) != 0;
	if (address == UART + UART_DATA && !is_divisor)
		putchar((int)value);
	if (address == TEXT)
		printf("%.*s", (int)length, (const char *)&value);
	if (address < REPORTS || address >= REPORTS + FRAME)
		return;
	printf("%s %#" PRIx64 " %#" PRIx64 "\n", vcpu->name, address - REPORTS, value);
	if (address == REPORTS + READY)
		vcpu->ready = 1;
	if (address == REPORTS + TAKEN) {
		vcpu->taken++;
		if (vcpu->lowered && value == vcpu->lowered)
			set_line(vcpu->lowered, 0);
	}
	if (address == REPORTS + DONE)
		vcpu->done = 1;
}

static void loaded(uint64_t address, unsigned char *data)
{
	memset(data, 0, sizeof(uint64_t));
	if (address == UART + UART_LSR)
		data[0] = 0x60; /* everything is sent */
	if (address == UART + UART_IIR)
		data[0] = 0xc1; /* a 16550A, without an interrupt */
}

static void kicked(struct vcpu *vcpu)
{
	int kick = vcpu->kicks;
	struct timespec cpu;

	if (kick < 2) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
		vcpu->loops[kick] = get_register(vcpu->fd, COUNT_OF_LOOPS);
		vcpu->cpu_us[kick] = (uint64_t)cpu.tv_sec * 1000000 + (uint64_t)cpu.tv_nsec / 1000;
		vcpu->kicks = kick + 1;
	}
}

static void *run(void *argument)
{
	struct vcpu *vcpu = argument;
	struct kvm_run *shared = vcpu->run;

	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR)
				give_up(1, "KVM_RUN");
			if (is_stopping)
				return NULL;
			kicked(vcpu);
		} else if (shared->exit_reason == KVM_EXIT_MMIO && shared->mmio.is_write) {
			stored(vcpu, shared->mmio.phys_addr, shared->mmio.data, shared->mmio.len);
		} else if (shared->exit_reason == KVM_EXIT_MMIO) {
			loaded(shared->mmio.phys_addr, shared->mmio.data);
		} else if (shared->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
			is_off = 1;
			pause();
		} else {
			printf("%s exit %u\n", vcpu->name, shared->exit_reason);
			pause();
		}
	}
	return NULL;
}

static int all_are(int what)
{
	unsigned int i, is_any = 0;

	for (i = 0; i < vcpu_count; i++) {
		if (!vcpus[i].is_started)
			continue;
		if (!(what == READY ? vcpus[i].ready : vcpus[i].done))
			return 0;
		is_any = 1;
	}
	return is_any;
}

static void kick_all(useconds_t until)
{
	unsigned int i;

	for (i = 0; i < vcpu_count; i++)
		pthread_kill(vcpus[i].thread, SIGUSR1);
	usleep(until);
}

static void print_states(void)
{
	unsigned int i;

	kick_all(WATCHED_US);
	kick_all(GRACE_US);
	for (i = 0; i < vcpu_count; i++) {
		struct vcpu *vcpu = &vcpus[i];
		int uses_cpu = vcpu->cpu_us[1] - vcpu->cpu_us[0] > WATCHED_US / 8;
		int executes = vcpu->loops[1] != vcpu->loops[0];

		if (vcpu->is_started && !vcpu->done)
			printf("%s %s\n", vcpu->name, executes || !uses_cpu ? "runs" : "stopped");
	}
}

static const char *run_all(double seconds, uint32_t raised)
{
	double left;
	unsigned int i;

	for (i = 0; i < vcpu_count; i++)
		if (pthread_create(&vcpus[i].thread, NULL, run, &vcpus[i]) != 0)
			give_up(3, "threads");
	for (left = seconds * 1e6; left > 0 && !is_off && !all_are(DONE); left -= TICK_US) {
		usleep(TICK_US);
		if (raised && all_are(READY)) {
			printf("raise %" PRIu32 ": %s\n", raised, set_line(raised, 1) < 0 ? strerror(errno) : "ok");
			raised = 0;
		}
	}
	if (is_off)
		return "off";
	usleep(GRACE_US);
	if (all_are(DONE))
		return "done";
	print_states();
	return "time";
}

static void ignore(int signal)
{
	(void)signal;
}

#ifndef WITHOUT_MAIN
int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore };
	uint32_t raised;
	int i;

	if (argc < 4 || argc % 2 != 0) {
		fprintf(stderr, "usage: run-guest SECONDS PLAN STARTS [FILE ADDRESS]...\n");
		return 3;
	}
	sigaction(SIGUSR1, &action, NULL);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		give_up(3, "/dev/kvm");
	perform_plan(argv[2]);
	for (i = 4; i < argc; i += 2)
		load(argv[i], strtoull(argv[i + 1], NULL, 0));
	raised = start_all(argv[3]);
	printf("end %s\n", run_all(strtod(argv[1], NULL), raised));
	fflush(stdout);
	_exit(0);
}
#endif
