"""The tests that boot arm64 kernels."""
