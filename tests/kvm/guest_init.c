/*
 * /init of a Linux guest: counts cycles on each CPU until the counter overflows several times, prints /proc/interrupts
 * and the log of the kernel, and switches the VM off. It prints to TEXT of run_guest.c, eight bytes at a time, because
 * a UART takes two exits per byte.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { TEXT = 0x50002000, PAGE = 4096, LOG_BYTES = 1 << 20, READ_ALL = 3 };
enum { CPU_CYCLES = 0x11, PERIOD = 100000, OVERFLOWS = 4, MOST_TURNS = 100000 };

static volatile uint64_t *text;

static void put(const char *from, size_t length)
{
	uint64_t word;
	size_t at, count;

	for (at = 0; at < length; at += count) {
		count = length - at < sizeof(word) ? length - at : sizeof(word);
		word = 0;
		memcpy(&word, from + at, count);
		*text = word;
	}
}

static void put_line(const char *line)
{
	put(line, strlen(line));
	put("\n", 1);
}

static void put_file(const char *path)
{
	char part[PAGE];
	int file = open(path, O_RDONLY);
	ssize_t length;

	while (file >= 0 && (length = read(file, part, sizeof(part))) > 0)
		put(part, (size_t)length);
}

/* Returns whether the counter of the CPU overflowed OVERFLOWS times. */
static int count_cycles(int cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .config = CPU_CYCLES, .size = sizeof(attr), .sample_period = PERIOD, .pinned = 1,
	};
	int event = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, 0);
	uint64_t cycles = 0;
	cpu_set_t only;
	int turn;

	CPU_ZERO(&only);
	CPU_SET(cpu, &only);
	if (event < 0 || sched_setaffinity(0, sizeof(only), &only) < 0)
		return 0;
	for (turn = 0; turn < MOST_TURNS && cycles < PERIOD * OVERFLOWS; turn++)
		if (read(event, &cycles, sizeof(cycles)) != sizeof(cycles))
			return 0;
	close(event);
	return cycles >= PERIOD * OVERFLOWS;
}

static void put_log(void)
{
	char *log = malloc(LOG_BYTES);
	int length = klogctl(READ_ALL, log, LOG_BYTES);

	put(log, length > 0 ? (size_t)length : 0);
}

int main(void)
{
	char line[64];
	int memory, cpu, cpus;

	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mknod("/mem", S_IFCHR | 0600, makedev(1, 1));
	memory = open("/mem", O_RDWR | O_SYNC);
	text = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, TEXT);
	if (text == MAP_FAILED)
		return 1; /* The kernel panics, and its console has the reason. */
	cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
	for (cpu = 0; cpu < cpus; cpu++) {
		snprintf(line, sizeof(line), "cpu %d: %s", cpu, count_cycles(cpu) ? "counted" : "not counted");
		put_line(line);
	}
	put_line("-- interrupts");
	put_file("/proc/interrupts");
	put_line("-- log");
	put_log();
	put_line("-- off");
	return reboot(RB_POWER_OFF);
}
