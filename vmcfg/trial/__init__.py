"""Trying a plan on KVM of this machine, in a VM that is destroyed at the end of the call.

A plan becomes a task, which is data. It is executed here, in the guest of an image, or by a script
on another host, and the same modules judge the answers.

In: a description or a plan. Out: the result of each command, the values that KVM returns, the vCPUs
that run, and findings about them. Only functions of this room change the world, through
`vmcfg.kernel.ioctls`. Unknown here: how a report is printed.
"""
