"""``python -m vmcfg``."""

from vmcfg.cli import main

if __name__ == "__main__":
    main()
