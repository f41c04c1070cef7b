"""``python -m vmcfg``."""

from __future__ import annotations

from vmcfg.cli import main

if __name__ == "__main__":
    main()
