"""``--format gitlab``: the Code Quality report of GitLab, a list of findings in JSON.

GitLab compares the fingerprints of two branches to say what is new. One consists of the file, the
rule, and the message, and therefore stays when lines move.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import ERROR
from vmcfg.reports.concise import NAMES_SHOWN, hosts_text
from vmcfg.reports.form import Report, Texts, Totals, items

SEVERITIES = {"error": "major", "warning": "minor"}


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    seen: Counter[str] = Counter()
    entries = []
    checked = next(iter(texts), "")
    for found in diagnostics:
        with_file = checked if found.file != checked else ""
        identity = "\0".join((_path(found.file), found.rule, _without_places(found.message)))
        if with_file:
            # Other descriptions can have the same finding in their defaults.
            identity += f"\0{_path(with_file)}"
        seen[identity] += 1
        entries.append(_entry(found, f"{identity}\0{seen[identity]}", with_file))
    return items(entries, 1)


def _without_places(message: str) -> str:
    """Return a message without the numbers of lines and columns."""
    return re.sub(r"\b(line|column)s? [0-9]+", r"\1", message)


def _entry(found: Diagnostic, identity: str, with_file: str) -> dict[str, Any]:
    """Return the entry of a finding; `with_file` is the description, if it is in the defaults."""
    description = printable(found.message)
    if with_file:
        description += f"; found with {printable(with_file)}"
    if found.hint is not None:
        description += f"; hint: {printable(found.hint)}"
    if found.hosts:
        description += f"; hosts: {hosts_text(found, NAMES_SHOWN)}"
    return {
        "description": description,
        "check_name": f"{found.rule} {found.name}",
        "fingerprint": _digest(identity),
        "severity": SEVERITIES[found.severity],
        "location": {
            "path": printable(_path(found.file)),
            "lines": {"begin": found.span.line, "end": found.span.end_line},
        },
    }


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()


def _path(file: str) -> str:
    """Return the name of a file relative to the working directory, if it is in it."""
    path = os.path.normpath(file)
    return path.removeprefix(os.path.join(os.getcwd(), ""))


def _whole(parts: Sequence[str], totals: Totals) -> Iterator[str]:
    unreadable = [
        {
            "description": printable(reason),
            "check_name": "unreadable",
            "fingerprint": _digest(f"{_path(file)}\0unreadable"),
            "severity": SEVERITIES[ERROR],
            "location": {"path": printable(_path(file)), "lines": {"begin": 1, "end": 1}},
        }
        for file, reason in totals.failures
    ]
    every = [*parts, *([items(unreadable, 1)] if unreadable else [])]
    if not every:
        yield json.dumps([]) + "\n"
        return
    yield "["
    for place, part in enumerate(every):
        yield f",{part}" if place else part
    yield "\n]\n"


REPORT = Report(_part, _whole)
