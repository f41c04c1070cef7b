"""The VM of a description: with expanded ranges, ids, and every identifier of a vCPU.

In: a complete `Description`. Out: a `Machine`, the frames of its GIC, and the identifiers of each
vCPU. Unknown here: rules, and commands of KVM.
"""
