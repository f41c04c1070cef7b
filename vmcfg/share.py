"""``python -m vmcfg.share`` writes the folder share/: completion scripts and manual pages, as they are installed."""

from __future__ import annotations

import os

from vmcfg import completion, files, manual


def shared() -> dict[str, str]:
    """Every file of share/ by its path in there."""
    return {
        "bash-completion/completions/vmcfg": completion.bash(),
        "zsh/site-functions/_vmcfg": completion.zsh(),
        "fish/vendor_completions.d/vmcfg.fish": completion.fish(),
    } | {f"man/man1/{name}": page for name, page in manual.pages().items()}


def main() -> None:
    """Write every file where the checkout has it."""
    folder = files.packed("share")
    for name, text in shared().items():
        path = folder / name
        os.makedirs(path.parent, exist_ok=True)
        files.write(str(path), text.encode())


if __name__ == "__main__":
    main()
