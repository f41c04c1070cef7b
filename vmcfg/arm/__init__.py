"""The architecture's numbers: affinities and MPIDRs, interrupts and their INTIDs.

Comes in: integers. Goes out: other integers, and text. Unknown here: everything but the Arm
architecture, and the one rule by which KVM derives an MPIDR from a vCPU id.
"""
