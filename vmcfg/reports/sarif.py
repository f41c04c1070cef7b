"""``--format sarif``: SARIF 2.1.0, which code scanning reads.

Files are named relative to where vmcfg ran, so run it at the root of the repository. Every other place is in
`relatedLocations` and linked from the message. Columns are code points, ends exclusive. (Static Analysis Results
Interchange Format 2.1.0 with errata 01; sections in the comments.)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from vmcfg import __version__
from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.position import Span
from vmcfg.findings.rule import Rule
from vmcfg.reference.every_rule import every_rule
from vmcfg.reports.form import Report, Totals, filled, items

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)

BASE = "%SRCROOT%"


def _part(diagnostics: list[Diagnostic], text: str) -> str:
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
    notices = [{"level": "error", "message": _text(line)} for line in totals.failures]
    run = {
        "tool": tool,
        "invocations": [
            {"executionSuccessful": not notices, "toolExecutionNotifications": notices}
        ],
        "originalUriBaseIds": {BASE: {"description": {"text": "The folder that vmcfg ran in."}}},
        "columnKind": "unicodeCodePoints",
        "results": [],
    }
    return filled({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, "results", parts)


def _metadata(rule: Rule) -> dict[str, Any]:
    paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(rule.doc).split("\n\n")]
    asked = (
        f"The kernel: {rule.kernel}." if rule.kernel is not None else "The kernel is never asked."
    )
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": _text(paragraphs[0]),
        "fullDescription": _text("\n\n".join(paragraphs)),
        "help": _text(
            "\n\n".join([*paragraphs, asked, f"vmcfg explain {rule.id} shows an example."])
        ),
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(found: Diagnostic, place: int) -> dict[str, Any]:
    words = _no_link(found.message)
    links = [
        f"[{_no_link(each.message)}]({number})" for number, each in enumerate(found.related, 1)
    ]
    if links:
        words += f" ({'; '.join(links)})"
    if found.hint is not None:
        words += f"\nHint: {_no_link(found.hint)}"
    if found.kernel is not None:
        words += f"\nKernel: {_no_link(str(found.kernel))}"
    location: dict[str, Any] = {"physicalLocation": _physical(found.file, found.span)}
    if found.pointer:
        location["logicalLocations"] = [
            {"fullyQualifiedName": printable(found.pointer), "kind": "value"}
        ]
    result = {
        "ruleId": found.rule,
        "ruleIndex": place,
        "level": found.severity,
        "message": _text(words),
        "locations": [location],
        "relatedLocations": [
            {
                "id": number,
                "physicalLocation": _physical(each.file, each.span),
                "message": _text(printable(each.message)),
            }
            for number, each in enumerate(found.related, 1)
        ],
    }
    if found.fix is not None:
        change = {
            "deletedRegion": _region(found.fix.span),
            "insertedContent": {"text": found.fix.text},
        }
        artifact = _physical(found.file, found.span)["artifactLocation"]
        result["fixes"] = [
            {
                "description": _text(f"Write {found.fix.text}"),
                "artifactChanges": [{"artifactLocation": artifact, "replacements": [change]}],
            }
        ]
    return result


def _physical(file: str, span: Span) -> dict[str, Any]:
    path = os.path.normpath(file)
    here = os.path.join(os.getcwd(), "")
    if os.path.isabs(path) and not path.startswith(here):
        artifact = {"uri": "file://" + quote(path)}
    else:
        artifact = {"uri": quote(path.removeprefix(here)), "uriBaseId": BASE}
    return {"artifactLocation": artifact, "region": _region(span)}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _text(words: str) -> dict[str, str]:
    """A message of plain words: braces doubled, since single ones are placeholders (3.11.5)."""
    return {"text": words.replace("{", "{{").replace("}", "}}")}


def _no_link(words: str) -> str:
    """`words` from a finding, in which brackets are no links (3.11.6), and nothing drives a terminal."""
    return printable(words).replace("[", "\\[").replace("]", "\\]")


REPORT = Report(_part, _whole)
