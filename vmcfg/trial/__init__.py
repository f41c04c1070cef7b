"""A plan tried on this machine's KVM, in a VM that ends with the call.

Comes in: a description or a plan. Goes out: what became of each command, what KVM gives back, which
vCPUs run, and findings about all that. This is the one room whose functions act on the world,
through `vmcfg.kernel.ioctls`. Unknown here: how a report is printed.
"""
