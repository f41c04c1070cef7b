#define VMCFG_DECLARATIONS
#include "plan.c"
#include <stdio.h>

int main(void)
{
	struct vmcfg_fds fds;
	struct vmcfg_failure failure;

	vmcfg_fds_init(&fds);
	if (fds.vm != -1 || fds.gic != -1 || fds.vcpu[0] != -1 || fds.vcpu[1] != -1)
		return 2;
	if (vmcfg_perform(&fds, VMCFG_CONFIGURE | VMCFG_PMU_INIT, NULL, &failure) < 0) {
		printf("%u %s %s %d\n", failure.seq, failure.words, failure.origin, failure.error);
		return 1;
	}
	return 0;
}
