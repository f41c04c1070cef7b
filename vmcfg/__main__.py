"""``vmcfg``, and ``python -m vmcfg``."""

from __future__ import annotations

import gc


def main() -> None:
    """Run vmcfg on this process's arguments."""
    # What is loaded now lives to the end: to search it for cycles meanwhile is a twentieth of a
    # short run. The command turns it on again once it is loaded (vmcfg.cli).
    gc.disable()
    from vmcfg.cli import main

    main()


if __name__ == "__main__":
    main()
