"""The VM that a description comes to: ranges expanded, ids given, and every identifier of a vCPU.

Comes in: a whole `Description`. Goes out: a `Machine`, the GIC's frames, and what each vCPU is
called where. Unknown here: which rules hold, and what KVM is told.
"""
