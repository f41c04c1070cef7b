"""Every generated file, by its path in a checkout: completion scripts, manual pages, and two
schemas.
"""

from __future__ import annotations

from pathlib import Path

from vmcfg import files
from vmcfg.description import schema as description_schema
from vmcfg.plans import schema as plan_schema
from vmcfg.reference.examples import FOLDER, chosen_cases
from vmcfg.shell import completion, manual

SHARE = Path(__file__).parent / "share"
"""What an installation has in share/ below its prefix, where shells and man(1) look."""


def shared() -> dict[str, str]:
    """Every file of share/ by its path in there."""
    return {
        "bash-completion/completions/vmcfg": completion.bash(),
        "zsh/site-functions/_vmcfg": completion.zsh(),
        "fish/vendor_completions.d/vmcfg.fish": completion.fish(),
    } | {f"man/man1/{name}": page for name, page in manual.pages().items()}


def generated() -> dict[Path, bytes]:
    """Every generated file's content, by where it lies."""
    schemas = files.packed("schemas")
    texts = {SHARE / name: text for name, text in shared().items()}
    texts[schemas / "vm-v1.schema.json"] = description_schema.text()
    texts[schemas / "plan-v1.schema.json"] = plan_schema.text()
    content = {path: text.encode() for path, text in texts.items()}
    for case in chosen_cases(files.packed("tests") / "cases"):
        content[FOLDER / case.name] = case.read_bytes()
    return content
