"""vmcfg compiles a YAML description of an arm64 KVM virtual machine into the commands that set its
device attributes.

The names in `__all__` are the library; everything else is private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vmcfg.api import (
        Answer,
        Command,
        Diagnostic,
        Fix,
        Host,
        InvalidDescription,
        Origin,
        Plan,
        Related,
        Span,
        check,
        plan,
        read_host,
    )
else:

    def __getattr__(name: str) -> object:
        """Return a name of the library. Only this imports its module: `import vmcfg` is fast."""
        if name not in __all__:
            raise AttributeError(f"module 'vmcfg' has no attribute {name!r}")
        from vmcfg import api

        return getattr(api, name)


__all__ = [
    "Answer",
    "Command",
    "Diagnostic",
    "Fix",
    "Host",
    "InvalidDescription",
    "Origin",
    "Plan",
    "Related",
    "Span",
    "check",
    "plan",
    "read_host",
]
