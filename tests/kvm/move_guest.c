/*
 * Runs a guest, moves it to another VM with the emitted code for the state of a vGIC, and lets it go on there.
 *
 *     move-guest SECONDS PLAN STARTS GUEST ADDRESS ITS
 *
 * STATE_C is the output of `vmcfg emit --scope state --format c` for the VM of PLAN, compiled too. STARTS has a line for each vCPU as for
 * run-guest: X2 and X3 are SPIs, and X2 must be the last interrupt that the vCPU takes. ITS is the address of an ITS, for
 * which this program does what a driver would do, so that two events of a device are the LPIs 8192 and 8193 of the first
 * vCPU.
 *
 * The first VM raises all X3. When they and the other interrupts are taken, the vCPUs stop; the program raises X2 of every
 * second vCPU and LPI 8192, which are then pending. It saves the state, restores it into a new VM with the same memory,
 * saves it again, and prints "moved N values, M differ". The new VM gets the other interrupts: X2 of the remaining vCPUs, and
 * LPI 8193. The reports of both VMs are printed as by run-guest, and at last "end" with "done" or "time".
 */
#define WITHOUT_MAIN
#include "run_guest.c"
#define VMCFG_DECLARATIONS
#include STATE_C

enum { GICR_CTLR = 0x0, GICR_PROPBASER = 0x70, GICR_PENDBASER = 0x78 };
enum { GITS_CTLR = 0x0, GITS_CBASER = 0x80, GITS_CWRITER = 0x88, GITS_BASER0 = 0x100, GITS_TRANSLATER = 0x10040 };
enum { REDIST_REGS = 5, ITS_REGS = 8 };
enum { FIRST_LPI = 8192, DEVICE_ID = 0, EVENT_BITS = 1, ID_BITS = 16 };

/* Where the tables lie in the memory of the guest, behind its code. */
#define QUEUE 0x40010000u
#define DEVICE_TABLE 0x40020000u
#define COLLECTION_TABLE 0x40030000u
#define ITT 0x40040000u
#define CONFIGURATION 0x40050000u
#define PENDING 0x40060000u
#define VALID (1ull << 63)
#define MPIDR_EL1 0x603000000013c005u
#define PAGES_OF_64K (2u << 8)

static const unsigned char LPI_ENABLED = 0xa1; /* with priority 0xa0 */

struct saved_vcpu {
	struct kvm_reg_list *list;
	unsigned char (*values)[64]; /* the longest register has 64 bytes: no plan here has SVE */
};

static struct saved_vcpu saved[MOST];
static uint32_t next_spi[MOST], first_spi[MOST];

static void *guest_page(uint64_t address)
{
	unsigned int i;

	for (i = 0; i < memory_count; i++)
		if (address >= memory[i].base && address < memory[i].base + memory[i].size)
			return memory[i].pages + (address - memory[i].base);
	give_up(3, "memory");
	return NULL;
}

static void set_attr(int fd, uint32_t group, uint64_t number, const void *value)
{
	struct kvm_device_attr attr = { .group = group, .attr = number, .addr = (uintptr_t)value };

	if (ioctl(fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		give_up(1, "KVM_SET_DEVICE_ATTR");
}

/* The affinities of the first vCPU, as in attributes. */
static uint64_t first_affinity(void)
{
	uint64_t mpidr = get_register(vcpus[0].fd, MPIDR_EL1);

	return (mpidr & 0xffffff) | (mpidr >> 32 & 0xff) << 24;
}

static void set_redistributor(uint32_t offset, uint64_t value, int halves)
{
	int half;

	for (half = 0; half < halves; half++) {
		uint32_t part = (uint32_t)(value >> (32 * half));
		uint64_t number = first_affinity() << 32 | (offset + 4u * (uint32_t)half);

		set_attr(descriptor("gic"), REDIST_REGS, number, &part);
	}
}

static void set_its(uint64_t offset, uint64_t value)
{
	set_attr(descriptor("its:0"), ITS_REGS, offset, &value);
}

/* What a driver of the guest would do: two events of one device are two LPIs of the first vCPU. */
static void set_up_its(void)
{
	uint64_t (*queue)[4] = guest_page(QUEUE);
	unsigned int event, count = 0;

	memset(guest_page(CONFIGURATION), LPI_ENABLED, 2);
	set_redistributor(GICR_PROPBASER, CONFIGURATION | (ID_BITS - 1), 2);
	set_redistributor(GICR_PENDBASER, PENDING, 2);
	set_redistributor(GICR_CTLR, 1, 1);
	set_its(GITS_CBASER, VALID | QUEUE);
	set_its(GITS_BASER0, VALID | DEVICE_TABLE | PAGES_OF_64K);
	set_its(GITS_BASER0 + 8, VALID | COLLECTION_TABLE | PAGES_OF_64K);
	set_its(GITS_CTLR, 1);
	queue[count][0] = 0x09; /* MAPC: collection 0 is the first vCPU */
	queue[count++][2] = VALID;
	queue[count][0] = 0x08; /* MAPD */
	queue[count][1] = EVENT_BITS - 1;
	queue[count++][2] = VALID | ITT;
	for (event = 0; event < 2; event++) {
		queue[count][0] = 0x0a; /* MAPTI */
		queue[count++][1] = (uint64_t)(FIRST_LPI + event) << 32 | event;
	}
	set_its(GITS_CWRITER, count * sizeof(queue[0]));
}

static void send_msi(uint64_t its, uint32_t event)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)(its + GITS_TRANSLATER),
		.data = event,
		.flags = KVM_MSI_VALID_DEVID,
		.devid = DEVICE_ID,
	};

	if (ioctl(descriptor("vm"), KVM_SIGNAL_MSI, &msi) <= 0)
		give_up(1, "KVM_SIGNAL_MSI");
}

static void start_threads(void)
{
	unsigned int i;

	is_stopping = 0;
	for (i = 0; i < vcpu_count; i++)
		if (pthread_create(&vcpus[i].thread, NULL, run, &vcpus[i]) != 0)
			give_up(3, "threads");
}

static void stop_threads(void)
{
	unsigned int i;

	is_stopping = 1;
	for (i = 0; i < vcpu_count; i++) {
		vcpus[i].run->immediate_exit = 1; /* for a signal that comes before KVM_RUN */
		pthread_kill(vcpus[i].thread, SIGUSR1);
		pthread_join(vcpus[i].thread, NULL);
	}
}

static int wait_until(double seconds, int (*is_so)(void))
{
	double left;

	for (left = seconds * 1e6; left > 0; left -= TICK_US) {
		if (is_so())
			return 1;
		usleep(TICK_US);
	}
	return 0;
}

static int are_ready(void)
{
	return all_are(READY);
}

static int are_done(void)
{
	return all_are(DONE);
}

/* Every vCPU lacks only the interrupt of X2; X21 counts those that are to come. */
static int lack_one(void)
{
	unsigned int i;

	for (i = 0; i < vcpu_count; i++)
		if (vcpus[i].taken < 3)
			return 0;
	return 1;
}

static void save_registers(struct vcpu *vcpu, struct saved_vcpu *to)
{
	struct kvm_reg_list none = { .n = 0 };
	uint64_t i;

	if (ioctl(vcpu->fd, KVM_GET_REG_LIST, &none) >= 0 || errno != E2BIG)
		give_up(1, "KVM_GET_REG_LIST");
	to->list = calloc(1, sizeof(*to->list) + none.n * sizeof(to->list->reg[0]));
	to->list->n = none.n;
	to->values = calloc(none.n, sizeof(*to->values));
	if (ioctl(vcpu->fd, KVM_GET_REG_LIST, to->list) < 0)
		give_up(1, "KVM_GET_REG_LIST");
	for (i = 0; i < to->list->n; i++) {
		struct kvm_one_reg reg = { .id = to->list->reg[i], .addr = (uintptr_t)to->values[i] };

		if (ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) < 0)
			give_up(1, "KVM_GET_ONE_REG");
	}
}

static void restore_registers(struct vcpu *vcpu, const struct saved_vcpu *from)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };
	uint64_t i;

	for (i = 0; i < from->list->n; i++) {
		struct kvm_one_reg reg = { .id = from->list->reg[i], .addr = (uintptr_t)from->values[i] };

		if (ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) < 0)
			printf("register %#llx: %s\n", reg.id, strerror(errno));
	}
	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) < 0)
		give_up(1, "KVM_SET_MP_STATE");
}

static struct vmcfg_state_fds state_fds(void)
{
	struct vmcfg_state_fds fds = { .gic = descriptor("gic"), .its = { descriptor("its:0") } };

	return fds;
}

static void check(int result, const struct vmcfg_state_failure *failure)
{
	if (result == 0)
		return;
	printf("%s, group %u, attribute %#llx\n", failure->name, failure->group, (unsigned long long)failure->attr);
	errno = failure->error;
	give_up(1, "state");
}

/* Makes the second VM, with the memory of the first one, and restores everything there. */
static void move(const char *plan)
{
	static uint64_t before[VMCFG_STATE_VALUES], after[VMCFG_STATE_VALUES];
	struct vmcfg_state_failure failure = { 0 };
	struct vmcfg_state_fds fds = state_fds();
	unsigned int i, differ = 0;

	check(vmcfg_save_state(&fds, before, &failure), &failure);
	for (i = 0; i < vcpu_count; i++)
		save_registers(&vcpus[i], &saved[i]);
	object_count = vcpu_count = 0;
	perform_plan(plan);
	for (i = 0; i < vcpu_count; i++)
		restore_registers(&vcpus[i], &saved[i]);
	fds = state_fds();
	check(vmcfg_restore_state(&fds, before, &failure), &failure);
	check(vmcfg_save_state(&fds, after, &failure), &failure);
	for (i = 0; i < VMCFG_STATE_VALUES; i++)
		differ += before[i] != after[i];
	printf("moved %d values, %u differ\n", VMCFG_STATE_VALUES, differ);
}

static void read_spis(void)
{
	unsigned int i;

	for (i = 0; i < vcpu_count; i++) {
		next_spi[i] = (uint32_t)get_register(vcpus[i].fd, X(2));
		first_spi[i] = (uint32_t)get_register(vcpus[i].fd, X(3));
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore };
	double seconds = argc == 7 ? strtod(argv[1], NULL) : 0;
	uint64_t its;
	unsigned int i;
	int in_time;

	if (argc != 7) {
		fprintf(stderr, "usage: move-guest SECONDS PLAN STARTS GUEST ADDRESS ITS\n");
		return 3;
	}
	its = strtoull(argv[6], NULL, 0);
	sigaction(SIGUSR1, &action, NULL);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		give_up(3, "/dev/kvm");
	perform_plan(argv[2]);
	load(argv[4], strtoull(argv[5], NULL, 0));
	start_all(argv[3]);
	read_spis();
	start_threads();
	in_time = wait_until(seconds, are_ready);
	for (i = 0; i < vcpu_count; i++)
		set_line(first_spi[i], 1);
	in_time = in_time && wait_until(seconds, lack_one);
	stop_threads();
	set_up_its();
	send_msi(its, 0);
	for (i = 1; i < vcpu_count; i += 2)
		set_line(next_spi[i], 1);
	move(argv[2]);
	for (i = 0; i < vcpu_count; i++) {
		vcpus[i].is_started = 1;
		vcpus[i].lowered = next_spi[i];
	}
	start_threads();
	send_msi(its, 1);
	for (i = 0; i < vcpu_count; i += 2)
		set_line(next_spi[i], 1);
	in_time = in_time && wait_until(seconds, are_done);
	usleep(GRACE_US);
	printf("end %s\n", in_time ? "done" : "time");
	fflush(stdout);
	_exit(0);
}
