"""Tests that boot arm64 kernels."""
