"""The seed of everything that the tests draw: VMCFG_SEED, or the same number in every run.

tests/conftest.py imports this module before every test module, because Hypothesis copies the
profile into the settings of each test.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

DEFAULT = 20160122
"""A fixed number: a failure then belongs to a change, and not to the day of the run."""

SEED = int(os.environ.get("VMCFG_SEED") or DEFAULT)

settings.register_profile(
    "vmcfg",
    # Only the seed decides what is drawn: not the name of a test, the time that it takes, or the
    # failures of earlier runs.
    derandomize=False,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("vmcfg")


def chosen() -> str:
    """Return the assignments, as in a shell, of all variables that change what the tests draw."""
    others = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith("VMCFG_") and name != "VMCFG_SEED"
    ]
    return " ".join([f"VMCFG_SEED={SEED}", *others])
