"""``python -m vmcfg.shell`` writes every generated file anew; what it would not change is left
alone.
"""

from __future__ import annotations

from vmcfg import files
from vmcfg.reference.examples import FOLDER
from vmcfg.shell.generated import SHARE, generated


def main() -> None:
    """Write every generated file where the checkout has it, and remove what is generated no
    more.
    """
    content = generated()
    for path, data in content.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            files.write(str(path), data)
    for folder in (SHARE, FOLDER):
        for path in folder.rglob("*"):
            if path.is_file() and path not in content:
                path.unlink()


if __name__ == "__main__":
    main()
