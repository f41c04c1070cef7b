"""Every generated file by its path in a checkout: completion scripts, manual pages, schemas of
what has tables, examples of rules, and REFERENCE.md.
"""

from __future__ import annotations

from pathlib import Path

from vmcfg import files
from vmcfg.description import schema as description_schema
from vmcfg.monitors import schema as record_schema
from vmcfg.plans import schema as plan_schema
from vmcfg.reference.examples import FOLDER, chosen_cases
from vmcfg.shell import completion, manual, reference_page

SHARE = Path(__file__).parent / "share"
"""The files for share/ in the prefix of an installation, where shells and man(1) find them."""

REFERENCE = Path(__file__).parent.parent.parent / "REFERENCE.md"


def shared() -> dict[str, str]:
    """Return every file of share/ by its path in there."""
    return {
        "bash-completion/completions/vmcfg": completion.bash(),
        "zsh/site-functions/_vmcfg": completion.zsh(),
        "fish/vendor_completions.d/vmcfg.fish": completion.fish(),
    } | {f"man/man1/{name}": page for name, page in manual.pages().items()}


def generated() -> dict[Path, bytes]:
    """Return the content of every generated file by its path."""
    schemas = files.packed("schemas")
    cases = files.packed("tests") / "cases"
    texts = {SHARE / name: text for name, text in shared().items()}
    texts[schemas / "vm-v1.schema.json"] = description_schema.text()
    texts[schemas / "plan-v1.schema.json"] = plan_schema.text()
    texts[schemas / "record-v1.schema.json"] = record_schema.text()
    texts[REFERENCE] = reference_page.page(cases)
    content = {path: text.encode() for path, text in texts.items()}
    for case in chosen_cases(cases):
        content[FOLDER / case.name] = case.read_bytes()
    return content
