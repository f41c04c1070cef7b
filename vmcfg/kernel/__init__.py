"""KVM as its header files and its ioctls have it: numbers, names and limits, and how a host is
asked.

Comes in: nothing, or numbers for an ioctl. Goes out: what the uapi calls things, and what a host's
KVM has. What `probe --script` carries to a host stands here and imports nothing from outside this
room. Unknown here: descriptions, rules and plans.
"""
