"""How a command ends, by its exit code; 0 where nothing was found."""

from __future__ import annotations

FOUND = 1
"""Findings; of diff a difference, of try a refusal."""
USAGE = 2
"""Options or arguments that contradict each other or make no sense."""
FAILED = 3
"""The job could not be done."""
