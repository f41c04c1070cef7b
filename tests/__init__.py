"""The tests of vmcfg."""
