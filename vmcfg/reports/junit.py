"""``--format junit``: the XML of JUnit, as Jenkins and GitLab read it.

Each file is a test suite. Each finding in it is a test: an error fails, and a warning passes with
its text as output. A file without findings is one test that passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from vmcfg.escape import printable
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import ERROR
from vmcfg.reports.concise import concise
from vmcfg.reports.form import Report, Texts, Totals


def _part(diagnostics: list[Diagnostic], texts: Texts) -> str:
    failures = sum(found.severity == ERROR for found in diagnostics)
    tests = "".join(map(_test, diagnostics))
    return _suite(next(iter(texts)), tests, count=len(diagnostics), failures=failures)


def _right(file: str) -> str:
    name = _attribute(file)
    return _suite(file, f'    <testcase classname={name} name="no findings"/>\n', count=1)


def _test(found: Diagnostic) -> str:
    name = quoteattr(f"{found.rule} {found.name}, line {found.span.line}")
    details = escape(concise(found))
    if found.severity == ERROR:
        message = _attribute(found.message)
        inner = f'<failure type="{found.rule}" message={message}>{details}</failure>'
    else:
        inner = f"<system-out>{details}</system-out>"
    return (
        f"    <testcase classname={_attribute(found.file)} name={name}>\n"
        f"      {inner}\n"
        f"    </testcase>\n"
    )


def _suite(file: str, tests: str, *, count: int, failures: int = 0, errors: int = 0) -> str:
    return (
        f'  <testsuite name={_attribute(file)} tests="{count}" failures="{failures}"'
        f' errors="{errors}" skipped="0" time="0">\n{tests}  </testsuite>\n'
    )


def _attribute(text: str) -> str:
    return quoteattr(printable(text))


def _whole(parts: Sequence[str], totals: Totals) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="vmcfg">\n'
    yield from parts
    for file, reason in totals.failures:
        name = _attribute(file)
        test = (
            f'    <testcase classname={name} name="readable">\n'
            f'      <error type="unreadable" message={_attribute(reason)}/>\n'
            f"    </testcase>\n"
        )
        yield _suite(file, test, count=1, errors=1)
    yield "</testsuites>\n"


REPORT = Report(_part, _whole, right=_right)
