"""``--format sarif``: SARIF 2.1.0, the input format of code scanning.

File names are relative to the working directory, so run vmcfg in the root of the repository. Every
other place is in `relatedLocations`, with a link in the message. Columns are code points with
exclusive ends. (Static Analysis Results Interchange Format 2.1.0 with errata 01; the comments name
its sections.)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from vmcfg import __version__
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic, Fix
from vmcfg.findings.position import Span
from vmcfg.findings.rule import Rule
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports.concise import NAMES_SHOWN, hosts_text
from vmcfg.reports.form import Report, Texts, Totals, filled, items

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

BASE = "%SRCROOT%"


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    places = {rule.id: place for place, rule in enumerate(every_rule())}
    return items((_result(found, places[found.rule]) for found in diagnostics), 4)


def _whole(parts: Sequence[str], totals: Totals) -> Iterator[str]:
    tool = {
        "driver": {
            "name": "vmcfg",
            "semanticVersion": __version__,
            "rules": [_metadata(rule) for rule in every_rule()],
        }
    }
    notices = [{"level": "error", "message": _text(reason)} for _, reason in totals.failures]
    run = {
        "tool": tool,
        "invocations": [
            {"executionSuccessful": not notices, "toolExecutionNotifications": notices}
        ],
        "originalUriBaseIds": {BASE: {"description": {"text": "The working directory of vmcfg."}}},
        "columnKind": "unicodeCodePoints",
        "results": [],
    }
    return filled({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, "results", parts)


def _metadata(rule: Rule) -> dict[str, Any]:
    """Return the metadata of a rule, with or without results."""
    paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(rule.doc).split("\n\n")]
    answer = "Checked by vmcfg only; this problem never reaches KVM."
    if rule.kernel is not None:
        answer = f"Kernel: {rule.kernel}."
    helped = [*paragraphs, answer, f"vmcfg explain {rule.id} prints an example."]
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": _text(paragraphs[0]),
        "fullDescription": _text("\n\n".join(paragraphs)),
        "help": _text("\n\n".join(helped)),
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(found: Diagnostic, place: int) -> dict[str, Any]:
    """Return the result of a finding; `place` is the index of its rule in the list of rules."""
    location: dict[str, Any] = {"physicalLocation": _physical(found.file, found.span)}
    if found.pointer:
        value = {"fullyQualifiedName": printable(found.pointer), "kind": "value"}
        location["logicalLocations"] = [value]
    related = [
        {
            "id": number,
            "physicalLocation": _physical(each.file, each.span),
            "message": _text(printable(each.message)),
        }
        for number, each in enumerate(found.related, 1)
    ]
    result = {
        "ruleId": found.rule,
        "ruleIndex": place,
        "level": found.severity,
        "message": _text(_message(found)),
        "locations": [location],
        "relatedLocations": related,
    }
    if found.fix is not None:
        result["fixes"] = [_fix(found.file, found.fix)]
    return result


def _message(found: Diagnostic) -> str:
    """Return the message of a finding: with links to the related places, then hint, kernel, and
    hosts.
    """
    words = _no_link(found.message)
    # A link to a related place is its id (3.11.6).
    links = [
        f"[{_no_link(each.message)}]({number})" for number, each in enumerate(found.related, 1)
    ]
    if links:
        words += f" ({'; '.join(links)})"
    if found.hint is not None:
        words += f"\nHint: {_no_link(found.hint)}"
    if found.kernel is not None:
        words += f"\nKernel: {_no_link(str(found.kernel))}"
    if found.hosts:
        words += f"\nHosts: {_no_link(hosts_text(found, NAMES_SHOWN))}"
    return words


def _fix(file: str, fix: Fix) -> dict[str, Any]:
    """Return the fix of a finding: a text that replaces another."""
    replacement = {
        "deletedRegion": _region(fix.span),
        "insertedContent": {"text": fix.text},
    }
    change = {"artifactLocation": _artifact(file), "replacements": [replacement]}
    return {"description": _text(f"Write {fix.text}"), "artifactChanges": [change]}


def _physical(file: str, span: Span) -> dict[str, Any]:
    return {"artifactLocation": _artifact(file), "region": _region(span)}


def _artifact(file: str) -> dict[str, str]:
    """Return the name of a file: relative to the working directory, or absolute outside of it."""
    path = os.path.normpath(file)
    here = os.path.join(os.getcwd(), "")
    if os.path.isabs(path) and not path.startswith(here):
        return {"uri": f"file://{_quoted(path)}"}
    return {"uri": _quoted(path.removeprefix(here)), "uriBaseId": BASE}


def _quoted(path: str) -> str:
    """Return the bytes of a file name, percent-encoded, whether they are UTF-8 or not."""
    return quote(path, errors="surrogateescape")


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _text(words: str) -> dict[str, str]:
    """Return a message of plain text with double braces: single ones are placeholders (3.11.5)."""
    return {"text": words.replace("{", "{{").replace("}", "}}")}


def _no_link(words: str) -> str:
    """Return `words` of a finding without links (3.11.6) and without control characters."""
    return printable(words).replace("[", "\\[").replace("]", "\\]")


REPORT = Report(_part, _whole)
