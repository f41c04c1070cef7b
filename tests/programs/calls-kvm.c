/*
 * Makes the calls of a VMM on a file that answers ENOTTY: each argument is one step, and the rest of the arguments is
 * done by the new thread, process, or program.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static int file = -1;
static char *self;

static void do_steps(char **steps);

static void *thread_of(void *steps)
{
	do_steps(steps);
	return NULL;
}

static void print(const char *text)
{
	if (write(1, text, strlen(text)) < 0 || write(1, "\n", 1) < 0)
		_exit(99);
}

static volatile sig_atomic_t caught;
static volatile sig_atomic_t signals;

static void note(int number)
{
	caught = number;
	signals++;
}

static void wait_for_child(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		_exit(98);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
}

static char **arguments(char **steps)
{
	static char *made[64];
	int place = 0;

	made[place++] = self;
	while (*steps && place < 63)
		made[place++] = *steps++;
	made[place] = NULL;
	return made;
}

static int is(const char *step, const char *name, long *number)
{
	size_t length = strlen(name);

	if (strncmp(step, name, length) || (step[length] && step[length] != '='))
		return 0;
	*number = step[length] ? strtol(step + length + 1, NULL, 0) : 1;
	return 1;
}

static void do_steps(char **steps)
{
	struct { uint32_t slot, flags; uint64_t base, size, address; } slot = { 1, 2, 0x40000000, 0x10000, 0 };
	struct { uint32_t type, fd, flags; } device = { 7, 0, 1 };
	struct { uint32_t cap, flags; uint64_t args[4]; uint8_t pad[64]; } cap = { 168, 0, { 3 }, { 0 } };
	struct { uint32_t target, features[7]; } init = { 5, { 0xc } };
	uint64_t value = 0x80000005;
	struct { uint64_t id; uint64_t *address; } reg = { 0x603000000013C005, &value };
	struct { uint32_t flags, group; uint64_t attr; uint64_t *address; } attr = { 0, 4, 0, &value };
	long number;
	pid_t child;

	for (; *steps; steps++) {
		if (is(*steps, "create-vm", &number)) {
			while (number--)
				ioctl(file, 0xae01, 40UL);
		} else if (is(*steps, "all", &number)) {
			ioctl(file, 0xae01, 40UL);
			ioctl(file, 0x4068aea3, &cap);
			ioctl(file, 0x4020ae46, &slot);
			ioctl(file, 0xae41, 3UL);
			ioctl(file, 0xc00caee0, &device);
			ioctl(file, 0x4020aeae, &init);
			ioctl(file, 0x4004aec2, &init);
			ioctl(file, 0x4010aeac, &reg);
			ioctl(file, 0x4010aeab, &reg);
			ioctl(file, 0x4018aee1, &attr);
			ioctl(file, 0x4018aee2, &attr);
			ioctl(file, 0x4018aee3, &attr);
			ioctl(file, 0x4004ae99, &init);
			ioctl(file, 0x4008ae6a, &init);
		} else if (is(*steps, "set-register", &number)) {
			reg.id = number;
			ioctl(file, 0x4010aeac, &reg);
		} else if (is(*steps, "enable-cap-at", &number)) {
			ioctl(file, 0x4068aea3, number);
		} else if (is(*steps, "set-register-from", &number)) {
			reg.address = (uint64_t *)number;
			ioctl(file, 0x4010aeac, &reg);
		} else if (is(*steps, "other", &number)) {
			while (number--)
				ioctl(file, 0xae80, 0);
		} else if (is(*steps, "print", &number)) {
			print(strchr(*steps, '=') ? strchr(*steps, '=') + 1 : "");
		} else if (is(*steps, "hide", &number)) {
			prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		} else if (is(*steps, "catch", &number)) {
			signal(number, note);
		} else if (is(*steps, "pause", &number)) {
			while (!caught)
				usleep(1000);
			printf("caught %d\n", caught);
			fflush(stdout);
			caught = 0;
		} else if (is(*steps, "count", &number)) {
			printf("signals: %d\n", signals);
			fflush(stdout);
		} else if (is(*steps, "sleep", &number)) {
			usleep(number * 1000);
		} else if (is(*steps, "kill", &number)) {
			kill(getpid(), number);
		} else if (is(*steps, "threads", &number)) {
			pthread_t threads[64];

			for (int place = 0; place < number; place++)
				pthread_create(&threads[place], NULL, thread_of, steps + 1);
			for (int place = 0; place < number; place++)
				pthread_join(threads[place], NULL);
			return;
		} else if (is(*steps, "fork", &number)) {
			child = fork();
			if (child)
				wait_for_child(child);
		} else if (is(*steps, "vfork", &number)) {
			char **made = arguments(steps + 1);

			child = vfork();
			if (child == 0) {
				execv(self, made);
				_exit(96);
			}
			wait_for_child(child);
		} else if (is(*steps, "spawn", &number)) {
			if (posix_spawn(&child, self, NULL, NULL, arguments(steps + 1), environ))
				_exit(95);
			wait_for_child(child);
		} else if (is(*steps, "exec", &number)) {
			execv(self, arguments(steps + 1));
			_exit(94);
		} else if (is(*steps, "run", &number)) {
			execv(strchr(*steps, '=') + 1, (char *[]){ *steps, NULL });
			_exit(93);
		} else if (is(*steps, "daemon", &number)) {
			if (fork())
				_exit(0);
			setsid();
			if (fork())
				_exit(0);
			usleep(200000);
		} else if (is(*steps, "exit", &number)) {
			exit(number);
		} else {
			fprintf(stderr, "unknown step %s\n", *steps);
			_exit(92);
		}
	}
}

int main(int count, char **steps)
{
	(void)count;
	self = "/proc/self/exe";
	file = open("/dev/null", O_RDWR | O_CLOEXEC);
	do_steps(steps + 1);
	return 0;
}
