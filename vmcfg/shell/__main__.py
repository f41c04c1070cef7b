"""``python -m vmcfg.shell``: write every generated file that has changed."""

from __future__ import annotations

from vmcfg import writing
from vmcfg.reference.examples import FOLDER
from vmcfg.shell.generated import SHARE, generated


def main() -> None:
    """Write every generated file at its path in the checkout, and remove all others there."""
    content = generated()
    for path, data in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            writing.write(str(path), data)
    for folder in (SHARE, FOLDER):
        for path in folder.rglob("*"):
            if path.is_file() and path not in content:
                path.unlink()


if __name__ == "__main__":
    main()
