"""The exit codes other than 0."""

from __future__ import annotations

FOUND = 1
"""There are errors; of diff, differences; of try, KVM rejected something."""
USAGE = 2
"""The options or arguments are invalid."""
FAILED = 3
"""vmcfg could not do its work."""
