"""``python -m vmcfg.shell`` writes every generated file anew; what it would not change is left
alone.
"""

from __future__ import annotations

from vmcfg import files
from vmcfg.shell.generated import generated


def main() -> None:
    """Write every generated file where the checkout has it."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            files.write(str(path), text.encode())


if __name__ == "__main__":
    main()
