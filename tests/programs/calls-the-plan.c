#define VMCFG_DECLARATIONS
#include "plan.c"
#include <stdio.h>

int main(void)
{
	struct vmcfg_fds fds = { .vm = -1, .gic = -1, .vcpu = { -1, -1 } };
	struct vmcfg_failure failure;

	if (vmcfg_perform(&fds, VMCFG_CONFIGURE | VMCFG_PMU_INIT, &failure) < 0) {
		printf("%u %s %s %d\n", failure.seq, failure.words, failure.origin, failure.error);
		return 1;
	}
	return 0;
}
