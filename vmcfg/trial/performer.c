/*
 * Performs plans on KVM of this arm64 kernel, each in a VM of its own, and prints the answers. It is a program that reads
 * standard input, or /init of a virtual machine, which reads /plans, prints on the console, and powers off.
 *
 * Input: lines with fields that are separated by one space.
 *
 *   plan N STOP RUN [KEY]
 *                        begins plan N. STOP is 1 if it ends at the first command that fails. RUN is 1 to enter vCPUs.
 *   OP TARGET GROUP ATTR LENGTH DATA
 *                        one command, as `vmcfg emit --numbers --scope vm` prints it. DATA can be pmu:NAME, a PMU of this
 *                        host. In get-attr and get-reg, DATA is the buffer before the call, and a seventh field is the
 *                        expected one after it. These commands are the last ones of a plan.
 *   ask TARGET REQUEST NUMBER LENGTH DATA
 *                        an ioctl of TARGET, which can be "kvm". Its argument is DATA, or NUMBER if LENGTH is 0.
 *   get-masks vm 0 0 LENGTH DATA
 *                        KVM_ARM_GET_REG_WRITABLE_MASKS. DATA is the buffer before the call.
 *   gic TYPE             begins the commands of a GIC instead of that of the VMM, executed if this VM supports TYPE.
 *   or-gic TYPE          begins those that are executed if the ones before were not.
 *   rest                 ends those.
 *   end                  ends the plan.
 *
 * Output: lines that begin with "vmcfg:". I is the number of a line of a plan, from 0 after its first line; E is an errno.
 *
 *   release TEXT, version TEXT   of the kernel, from uname()
 *   page-size N                  of this host
 *   pmu NAME TYPE CPUS   a PMU of this host
 *   none E               /dev/kvm cannot be opened
 *   plan N, end N SUM    around the answers to a plan; SUM is the FNV-1a of all bytes of its lines between these two
 *   of KEY               the first answer to a plan with a KEY
 *   without-pmu          the plan has vCPUs with a PMU, which this host does not support: nothing is executed
 *   unknown I            the host does not have the PMU of the line: nothing is executed
 *   no-memory I          no address space for the memory slot of the line; the plan ends
 *   failed I E           the command failed
 *   missed I             the command was not executed
 *   chosen I             the GIC of line I is executed
 *   got I HEX            the value after a GET that is not the expected one, or the 8 bytes of the result of an ask
 *   run I E              the first KVM_RUN of the vCPU that line I created failed
 *   done                 after the last plan
 *
 * It needs no header and no library.
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

enum {
	SYS_IOCTL = 29,
	SYS_MKDIRAT = 34,
	SYS_MOUNT = 40,
	SYS_OPENAT = 56,
	SYS_CLOSE = 57,
	SYS_GETDENTS64 = 61,
	SYS_READ = 63,
	SYS_WRITE = 64,
	SYS_EXIT_GROUP = 94,
	SYS_REBOOT = 142,
	SYS_UNAME = 160,
	SYS_GETPID = 172,
	SYS_MUNMAP = 215,
	SYS_MREMAP = 216,
	SYS_MMAP = 222,
	SYS_PRLIMIT64 = 261
};

#define GET_VCPU_MMAP_SIZE 0xae04
#define CHECK_EXTENSION 0xae03
#define CREATE_VM 0xae01
#define SET_USER_MEMORY_REGION 0x4020ae46
#define CREATE_VCPU 0xae41
#define CREATE_DEVICE 0xc00caee0
#define ENABLE_CAP 0x4068aea3
#define ARM_VCPU_INIT 0x4020aeae
#define ARM_VCPU_FINALIZE 0x4004aec2
#define RUN 0xae80
#define GET_ONE_REG 0x4010aeab
#define SET_ONE_REG 0x4010aeac
#define ARM_PREFERRED_TARGET 0x8020aeaf
#define SET_DEVICE_ATTR 0x4018aee1
#define GET_DEVICE_ATTR 0x4018aee2
#define ARM_GET_REG_WRITABLE_MASKS 0x8040aeb6
#define CREATE_DEVICE_TEST 1
#define CAP_ARM_PMU_V3 126
#define FEATURE_PMU_V3 (1ul << 3)

#define EINTR 4
#define AUXILIARY_PAGE_SIZE 6	/* AT_PAGESZ */
#define AT_FDCWD (-100)
#define READ_WRITE_CLOEXEC 02000002
#define READ_CLOEXEC 02000000
#define PROT_READ_WRITE 3
#define MAP_SHARED 1
#define MAP_PRIVATE_ANONYMOUS_NORESERVE 0x4022
#define IMMEDIATE_EXIT 1	/* offset in struct kvm_run */
#define PAGE 65536		/* the largest size of a page */

#define MOST_TARGETS 8192
#define MOST_SLOTS 8192
#define MOST_DATA 2048
#define FIELDS 7

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
	return x0;
}

static long ioctl(int fd, u64 request, const void *argument)
{
	return call(SYS_IOCTL, fd, (long)request, (long)argument, 0, 0, 0);
}

static long ioctl_number(int fd, u64 request, u64 argument)
{
	return call(SYS_IOCTL, fd, (long)request, (long)argument, 0, 0, 0);
}

static long open_file(const char *path, long flags)
{
	return call(SYS_OPENAT, AT_FDCWD, (long)path, flags, 0, 0, 0);
}

static void close_file(long fd)
{
	call(SYS_CLOSE, fd, 0, 0, 0, 0, 0);
}

static long map(u64 size, long flags, long fd)
{
	return call(SYS_MMAP, 0, (long)size, PROT_READ_WRITE, flags, fd, 0);
}

/* Compilers call these two. They must not call themselves, hence volatile. */
void *memset(void *to, int byte, u64 size);
void *memcpy(void *to, const void *from, u64 size);

void *memset(void *to, int byte, u64 size)
{
	volatile u8 *bytes = to;
	u64 i;

	for (i = 0; i < size; i++)
		bytes[i] = (u8)byte;
	return to;
}

void *memcpy(void *to, const void *from, u64 size)
{
	volatile u8 *bytes = to;
	const u8 *others = from;
	u64 i;

	for (i = 0; i < size; i++)
		bytes[i] = others[i];
	return to;
}

static int same(const char *one, const char *other)
{
	while (*one && *one == *other) {
		one++;
		other++;
	}
	return *one == *other;
}

/* Returns what follows `start` in `text`, or 0. */
static const char *after(const char *text, const char *start)
{
	while (*start)
		if (*text++ != *start++)
			return 0;
	return text;
}

/* Output */

static int output = 1;
static char written[16384];
static u64 length;
static u32 sum;

static void flush(void)
{
	u64 done = 0;

	while (done < length) {
		long count = call(SYS_WRITE, output, (long)(written + done), (long)(length - done), 0, 0, 0);

		if (count <= 0 && count != -EINTR)
			break;
		done += count > 0 ? (u64)count : 0;
	}
	length = 0;
}

static void put(char byte)
{
	if (length == sizeof(written))
		flush();
	written[length++] = byte;
	sum = (sum ^ (u8)byte) * 0x01000193u;
}

static void print(const char *text)
{
	while (*text)
		put(*text++);
}

static void print_number(u64 number)
{
	char digits[24];
	int i = sizeof(digits) - 1;

	digits[i] = 0;
	do {
		digits[--i] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	put(' ');
	print(digits + i);
}

static void print_hex(const u8 *data, u64 size)
{
	u64 i;

	put(' ');
	for (i = 0; i < size; i++) {
		put("0123456789abcdef"[data[i] >> 4]);
		put("0123456789abcdef"[data[i] & 15]);
	}
}

/* Prints a line with a word and one or two numbers. */
static void tell(const char *word, u64 line)
{
	print("vmcfg:");
	print(word);
	print_number(line);
	put('\n');
}

static void tell_error(const char *word, u64 line, long error)
{
	print("vmcfg:");
	print(word);
	print_number(line);
	print_number((u64)-error);
	put('\n');
}

static void tell_text(const char *word, const char *text)
{
	print("vmcfg:");
	print(word);
	put(' ');
	print(text);
	put('\n');
}

/* Input */

static char *input;

/* Reads all of a file, and a 0 after it. */
static void read_input(long fd)
{
	u64 room = 1 << 20, used = 0;

	input = (char *)map(room, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1);
	for (;;) {
		long count = call(SYS_READ, fd, (long)(input + used), (long)(room - used - 1), 0, 0, 0);

		if (count == -EINTR)
			continue;
		if (count <= 0)
			break;
		used += (u64)count;
		if (used + 1 == room) {
			input = (char *)call(SYS_MREMAP, (long)input, (long)room, (long)(2 * room), 1, 0, 0);
			room *= 2;
		}
	}
	input[used] = 0;
}

/* Cuts the next line into fields in place. Returns the number of fields; missing ones are "". */
static int next_line(char **at, char *fields[FIELDS])
{
	static char nothing[1];
	int count = 0, i;

	for (i = 0; i < FIELDS; i++)
		fields[i] = nothing;
	if (!**at)
		return 0;
	fields[count++] = *at;
	for (; **at && **at != '\n'; (*at)++) {
		if (**at == ' ') {
			**at = 0;
			if (count < FIELDS)
				fields[count++] = *at + 1;
		}
	}
	if (**at)
		*(*at)++ = 0;
	return count;
}

static u64 number_of(const char *text)
{
	u64 number = 0;
	u64 base = 10;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	for (; *text; text++)
		number = number * base + (u64)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
	return number;
}

/* Returns the number of bytes in `text`, which are written to `data`. */
static u64 bytes_of(const char *text, u8 *data)
{
	u64 size = 0;

	if (*text == '-')
		return 0;
	for (; text[0] && text[1] && size < MOST_DATA; text += 2) {
		u32 high = (u32)(text[0] <= '9' ? text[0] - '0' : text[0] - 'a' + 10);
		u32 low = (u32)(text[1] <= '9' ? text[1] - '0' : text[1] - 'a' + 10);

		data[size++] = (u8)(high << 4 | low);
	}
	return size;
}

/* PMUs of this host */

struct pmu {
	char name[64];
	u64 type;
};

static struct pmu pmus[64];
static int pmu_count;

/* Reads the first line of a file of sysfs; "" without the file. */
static void read_first_line(const char *folder, const char *name, const char *file, char *line, u64 size)
{
	char path[512];
	u64 used = 0, i;
	const char *parts[3];
	long fd, count;

	parts[0] = folder;
	parts[1] = name;
	parts[2] = file;
	for (i = 0; i < 3; i++) {
		const char *part = parts[i];

		while (*part && used < sizeof(path) - 1)
			path[used++] = *part++;
	}
	path[used] = 0;
	line[0] = 0;
	fd = open_file(path, READ_CLOEXEC);
	if (fd < 0)
		return;
	count = call(SYS_READ, fd, (long)line, (long)(size - 1), 0, 0, 0);
	close_file(fd);
	line[count > 0 ? count : 0] = 0;
	for (; *line; line++)
		if (*line == '\n')
			*line = 0;
}

static void find_pmus(void)
{
	static const char folder[] = "/sys/bus/event_source/devices/";
	static u8 entries[8192];
	long fd = open_file(folder, READ_CLOEXEC);
	long count, at;

	if (fd < 0)
		return;
	while ((count = call(SYS_GETDENTS64, fd, (long)entries, sizeof(entries), 0, 0, 0)) > 0) {
		for (at = 0; at < count; at += entries[at + 16] | entries[at + 17] << 8) {
			const char *name = (const char *)entries + at + 19;
			char type[64], cpus[256];
			u64 i;

			read_first_line(folder, name, "/type", type, sizeof(type));
			read_first_line(folder, name, "/cpus", cpus, sizeof(cpus));
			if (!type[0] || !cpus[0] || pmu_count == sizeof(pmus) / sizeof(pmus[0]))
				continue;
			for (i = 0; name[i] && i < sizeof(pmus[0].name) - 1; i++)
				pmus[pmu_count].name[i] = name[i];
			pmus[pmu_count].type = number_of(type);
			print("vmcfg:pmu ");
			print(name);
			print_number(pmus[pmu_count].type);
			put(' ');
			print(cpus);
			put('\n');
			pmu_count++;
		}
	}
	close_file(fd);
}

/* Returns the number of a PMU, or -1. */
static long pmu_type(const char *name)
{
	int i;

	for (i = 0; i < pmu_count; i++)
		if (same(pmus[i].name, name))
			return (long)pmus[i].type;
	return -1;
}

/* One VM */

struct target {
	char name[24];
	int fd;
	u64 line;	/* that created it */
};

struct pages {
	long start;
	u64 size;
};

static int kvm;
static u64 run_size;
static struct target targets[MOST_TARGETS];
static int target_count;
static struct pages slots[MOST_SLOTS];
static int slot_count;

static struct target *find(const char *name)
{
	static int last;
	int i;

	/* Most commands are for the target of the command before, or for the one after it. */
	for (i = last; i < last + 2 && i < target_count; i++)
		if (same(targets[i].name, name)) {
			last = i;
			return &targets[i];
		}
	for (i = 0; i < target_count; i++)
		if (same(targets[i].name, name)) {
			last = i;
			return &targets[i];
		}
	return 0;
}

static int fd_of(const char *name)
{
	struct target *target = find(name);

	return target ? target->fd : -1;
}

static void add_target(const char *name, long fd, u64 line)
{
	struct target *target = &targets[target_count];
	u64 i;

	if (target_count == MOST_TARGETS)
		return;
	memset(target, 0, sizeof(*target));
	for (i = 0; name[i] && i < sizeof(target->name) - 1; i++)
		target->name[i] = name[i];
	target->fd = (int)fd;
	target->line = line;
	target_count++;
}

static void destroy_vm(void)
{
	while (target_count > 0)
		close_file(targets[--target_count].fd);
	while (slot_count > 0) {
		slot_count--;
		call(SYS_MUNMAP, slots[slot_count].start, (long)slots[slot_count].size, 0, 0, 0, 0);
	}
}

struct device_attr {
	u32 flags;
	u32 group;
	u64 attr;
	u64 address;
};

struct one_reg {
	u64 id;
	u64 address;
};

struct device {
	u32 type;
	u32 fd;
	u32 flags;
};

#define NO_ADDRESS_SPACE 1
#define NOT_REACHED 2

static long add_memory(int vm, const u8 *data)
{
	struct {
		u32 slot;
		u32 flags;
		u64 base;
		u64 size;
		u64 start;
	} region;
	struct pages *pages = &slots[slot_count];

	memcpy(&region, data, 24);
	pages->size = region.size < PAGE ? PAGE : region.size;
	pages->start = slot_count == MOST_SLOTS ? -1 : map(pages->size, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1);
	if (pages->start < 0 && pages->start > -4096)
		return NO_ADDRESS_SPACE;
	slot_count++;
	region.start = (u64)pages->start;
	return ioctl(vm, SET_USER_MEMORY_REGION, &region);
}

static long init_vcpu(int vm, int vcpu, u64 features)
{
	u32 init[8];
	long error = ioctl(vm, ARM_PREFERRED_TARGET, init);

	if (error < 0)
		return error;
	init[1] |= (u32)features;
	return ioctl(vcpu, ARM_VCPU_INIT, init);
}

static long create_device(int vm, const char *target, u64 type, u64 line)
{
	struct device device = { (u32)type, 0, 0 };
	long error = ioctl(vm, CREATE_DEVICE, &device);

	if (error >= 0)
		add_target(target, device.fd, line);
	return error;
}

static long enable_cap(int vm, u64 number, const u8 *data, u64 size)
{
	u8 cap[104];

	memset(cap, 0, sizeof(cap));
	memcpy(cap, &number, 4);
	memcpy(cap + 8, data, size < 32 ? size : 32);
	return ioctl(vm, ENABLE_CAP, cap);
}

/* Executes a command. Returns a negative errno if it fails, NO_ADDRESS_SPACE, NOT_REACHED, or 0. */
static long perform(char *fields[FIELDS], u64 line)
{
	const char *op = fields[0], *target = fields[1];
	u64 number = number_of(fields[3]);
	u8 data[MOST_DATA];
	u64 size;
	const char *name = after(fields[5], "pmu:");
	int vm = fd_of("vm"), fd = fd_of(target);
	long made = NOT_REACHED;

	if (name) {
		u32 type = (u32)pmu_type(name);

		size = sizeof(type);
		memcpy(data, &type, size);
	} else {
		size = bytes_of(fields[5], data);
	}
	if (same(op, "create-vm")) {
		made = ioctl_number(kvm, CREATE_VM, number);
		if (made >= 0)
			add_target(target, made, line);
	} else if (vm < 0) {
		return NOT_REACHED;
	} else if (same(op, "create-vcpu")) {
		made = ioctl_number(vm, CREATE_VCPU, number);
		if (made >= 0)
			add_target(target, made, line);
	} else if (same(op, "create-device")) {
		made = create_device(vm, target, number, line);
	} else if (fd < 0) {
		return NOT_REACHED;
	} else if (same(op, "add-memory")) {
		made = add_memory(vm, data);
		if (made == NO_ADDRESS_SPACE)
			return made;
	} else if (same(op, "enable-cap")) {
		made = enable_cap(vm, number, data, size);
	} else if (same(op, "init-vcpu")) {
		made = init_vcpu(vm, fd, number);
	} else if (same(op, "finalize-vcpu")) {
		int feature = (int)number;

		made = ioctl(fd, ARM_VCPU_FINALIZE, &feature);
	} else if (same(op, "set-reg")) {
		struct one_reg reg = { number, (u64)data };

		made = ioctl(fd, SET_ONE_REG, &reg);
	} else if (same(op, "set-attr")) {
		struct device_attr attr = { 0, (u32)number_of(fields[2]), number, size ? (u64)data : 0 };

		made = ioctl(fd, SET_DEVICE_ATTR, &attr);
	}
	return made == NOT_REACHED || made < 0 ? made : 0;
}

static void print_got(u64 line, const u8 *data, u64 size)
{
	print("vmcfg:got");
	print_number(line);
	print_hex(data, size);
	put('\n');
}

/* Prints the result of an ioctl. */
static void ask(char *fields[FIELDS], u64 line)
{
	int fd = same(fields[1], "kvm") ? kvm : fd_of(fields[1]);
	u64 request = number_of(fields[2]);
	u8 data[MOST_DATA];
	long result;

	if (fd < 0) {
		tell("missed", line);
		return;
	}
	if (bytes_of(fields[5], data))
		result = ioctl(fd, request, data);
	else
		result = ioctl_number(fd, request, number_of(fields[3]));
	if (result < 0)
		tell_error("failed", line, result);
	else
		print_got(line, (const u8 *)&result, sizeof(result));
}

/* Reads a value back, and prints it if it is not as expected. */
static void read_back(char *fields[FIELDS], u64 line)
{
	u64 number = number_of(fields[3]);
	int fd = fd_of(fields[1]);
	u8 data[MOST_DATA], expected[MOST_DATA];
	u64 size = bytes_of(fields[5], data), i;
	u64 wanted = bytes_of(fields[6], expected);
	int differs = size != wanted;
	long error;

	if (fd < 0)
		return;
	if (same(fields[0], "get-reg")) {
		struct one_reg reg = { number, (u64)data };

		error = ioctl(fd, GET_ONE_REG, &reg);
	} else if (same(fields[0], "get-masks")) {
		u64 masks[8] = { (u64)data };

		error = ioctl(fd, ARM_GET_REG_WRITABLE_MASKS, masks);
	} else {
		struct device_attr attr = { 0, (u32)number_of(fields[2]), number, (u64)data };

		error = ioctl(fd, GET_DEVICE_ATTR, &attr);
	}
	if (error < 0) {
		tell_error("failed", line, error);
		return;
	}
	for (i = 0; i < size; i++)
		differs |= data[i] != expected[i];
	if (differs)
		print_got(line, data, size);
}

/* Enters each vCPU: KVM makes every check of the first KVM_RUN, but does not execute guest instructions. */
static void enter_vcpus(void)
{
	int i;

	for (i = 0; i < target_count; i++) {
		long run, error;

		if (!after(targets[i].name, "vcpu:"))
			continue;
		run = map(run_size, MAP_SHARED, targets[i].fd);
		error = run;
		if (run >= 0 || run < -4095) {
			((volatile u8 *)run)[IMMEDIATE_EXIT] = 1;
			error = ioctl(targets[i].fd, RUN, 0);
			call(SYS_MUNMAP, run, (long)run_size, 0, 0, 0, 0);
		}
		if (error < 0 && error > -4096 && error != -EINTR)
			tell_error("run", targets[i].line, error);
	}
}

static int supports_device(u64 type)
{
	struct device device = { (u32)type, 0, CREATE_DEVICE_TEST };

	return ioctl(fd_of("vm"), CREATE_DEVICE, &device) >= 0;
}

/* Prints why the plan at `at` cannot be executed here. Returns whether it can. */
static int is_executable(const char *at)
{
	int has_pmu = 0;
	u64 line = 0;

	for (;; line++) {
		const char *word = at;
		const char *pmu = 0;
		char name[64];
		u64 i = 0;
		int field = 0;

		if (!*at || after(at, "end\n"))
			break;
		for (; *at && *at != '\n'; at++) {
			if (*at == ' ' && ++field == 3 && after(word, "init-vcpu ")) {
				char number[32];

				for (i = 0; at[i + 1] != ' ' && i < sizeof(number) - 1; i++)
					number[i] = at[i + 1];
				number[i] = 0;
				has_pmu |= (number_of(number) & FEATURE_PMU_V3) != 0;
			}
			if (*at == ' ' && after(at, " pmu:"))
				pmu = at + 5;
		}
		at += *at == '\n';
		if (!pmu)
			continue;
		for (i = 0; pmu[i] && pmu[i] != '\n' && i < sizeof(name) - 1; i++)
			name[i] = pmu[i];
		name[i] = 0;
		if (pmu_type(name) < 0) {
			tell("unknown", line);
			return 0;
		}
	}
	if (has_pmu && ioctl_number(kvm, CHECK_EXTENSION, CAP_ARM_PMU_V3) <= 0) {
		print("vmcfg:without-pmu\n");
		return 0;
	}
	return 1;
}

/* Executes one plan, from the line after its first to its end. Returns what follows it. */
static char *execute(char *at, int stops, int runs)
{
	char *fields[FIELDS];
	int is_refused = 0, is_over = !is_executable(at);
	int in_gic = 0, was_chosen = 0, is_skipped = 0;
	u64 line;

	for (line = 0; next_line(&at, fields) && !same(fields[0], "end"); line++) {
		const char *op = fields[0];
		long result;

		if (is_over)
			continue;
		if (same(op, "gic") || same(op, "or-gic")) {
			in_gic = 1;
			is_skipped = was_chosen || fd_of("vm") < 0 ||
				     (same(op, "gic") && !supports_device(number_of(fields[1])));
			if (!is_skipped) {
				was_chosen = 1;
				tell("chosen", line);
			}
		} else if (same(op, "rest")) {
			in_gic = is_skipped = 0;
		} else if (in_gic && is_skipped) {
			continue;
		} else if (same(op, "ask")) {
			ask(fields, line);
		} else if (after(op, "get-")) {
			if (!is_refused || !stops)
				read_back(fields, line);
		} else if (is_refused && stops) {
			tell("missed", line);
		} else {
			result = perform(fields, line);
			if (result == NO_ADDRESS_SPACE) {
				tell("no-memory", line);
				is_over = 1;
			} else if (result == NOT_REACHED) {
				tell("missed", line);
			} else if (result < 0) {
				tell_error("failed", line, result);
				is_refused = 1;
			}
		}
	}
	if (runs && !is_over && !(is_refused && stops))
		enter_vcpus();
	destroy_vm();
	return at;
}

static void execute_plans(char *at)
{
	char *fields[FIELDS];

	while (next_line(&at, fields)) {
		u64 number = number_of(fields[1]);
		u32 told;

		if (!same(fields[0], "plan"))
			continue;
		tell("plan", number);
		sum = 0x811c9dc5u;
		if (*fields[4])
			tell_text("of", fields[4]);
		at = execute(at, same(fields[2], "1"), same(fields[3], "1"));
		told = sum;
		print("vmcfg:end");
		print_number(number);
		print_number(told);
		put('\n');
		flush();
	}
}

static void print_kernel(void)
{
	static char names[6][65];

	call(SYS_UNAME, (long)names, 0, 0, 0, 0, 0);
	tell_text("release", names[2]);
	tell_text("version", names[3]);
}

static void raise_limit_of_files(void)
{
	u64 limit[2];

	if (call(SYS_PRLIMIT64, 0, 7, 0, (long)limit, 0, 0) < 0)
		return;
	limit[0] = limit[1];
	call(SYS_PRLIMIT64, 0, 7, (long)limit, 0, 0, 0);
}

/* Prints the size of a page, which the kernel puts on the stack after the arguments and the environment. */
static void print_page_size(const u64 *stack)
{
	const u64 *at = stack + 1 + stack[0] + 1;

	while (*at)
		at++;
	for (at++; at[0]; at += 2)
		if (at[0] == AUXILIARY_PAGE_SIZE)
			tell("page-size", at[1]);
}

static long main_of_all(const u64 *stack)
{
	int is_init = call(SYS_GETPID, 0, 0, 0, 0, 0, 0) == 1;
	long file = 0, size;

	if (is_init) {
		output = (int)open_file("/dev/console", READ_WRITE_CLOEXEC);
		call(SYS_MKDIRAT, AT_FDCWD, (long)"/sys", 0755, 0, 0, 0);
		call(SYS_MOUNT, (long)"sysfs", (long)"/sys", (long)"sysfs", 0, 0, 0);
		file = open_file("/plans", READ_CLOEXEC);
	}
	raise_limit_of_files();
	read_input(file);
	print("\n");
	print_kernel();
	print_page_size(stack);
	find_pmus();
	kvm = (int)open_file("/dev/kvm", READ_WRITE_CLOEXEC);
	size = kvm < 0 ? kvm : ioctl_number(kvm, GET_VCPU_MMAP_SIZE, 0);
	if (size < 0) {
		tell("none", (u64)-size);
	} else {
		run_size = (u64)size;
		execute_plans(input);
	}
	print("vmcfg:done\n");
	flush();
	if (is_init)
		call(SYS_REBOOT, (long)0xfee1dead, 672274793, 0x4321fedc, 0, 0, 0);
	return size < 0 ? 3 : 0;
}

void start(const u64 *stack);

void start(const u64 *stack)
{
	call(SYS_EXIT_GROUP, main_of_all(stack), 0, 0, 0, 0, 0);
}

/* The stack of a new process is aligned as a function expects it. */
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start\n");
