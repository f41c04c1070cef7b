"""``vmcfg``, and ``python -m vmcfg``."""

from __future__ import annotations

import gc


def main() -> None:
    """Run vmcfg on the arguments of this process."""
    # Imported modules live until the end: searching them for cycles takes a twentieth of a short
    # run. vmcfg.cli enables the garbage collector after the import of the command.
    gc.disable()
    from vmcfg.cli import main

    main()


if __name__ == "__main__":
    main()
