"""KVM as in its header files and its ioctls: numbers, names, limits, and how a host is queried.

In: nothing, or numbers for an ioctl. Out: names of the uapi, and what KVM on a host supports. The
modules that `probe --script` copies to a host are here and import only the standard library and
each other. Unknown here: descriptions, rules, and plans.
"""
