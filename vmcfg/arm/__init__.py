"""Numbers of the Arm architecture: affinities, INTIDs, SMCCC function ids.

In: integers. Out: other integers, and text. Unknown here: everything else, except how KVM derives
an MPIDR from a vCPU id.
"""
