"""Findings on the console: at three widths, with any text, on a terminal and in a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from vmcfg.checking.check import check
from vmcfg.findings.diagnostic import Diagnostic, Related
from vmcfg.findings.position import Span
from vmcfg.findings.rule import Answer
from vmcfg.reports import concise, human, styled

DRAWN = Path(__file__).parent / "drawn"
ROOT = Path(__file__).parent.parent
HEAD = "vmcfg: 1\nname: vm\n"


def vcpus(count: int, irq: Callable[[int], object]) -> str:
    return "vcpus:\n" + "".join(
        f"  - mpidr: 0.0.{n // 16}.{n % 16}\n    pmu_irq: {irq(n)}\n" for n in range(count)
    )


TEXTS = {
    "far-apart": HEAD + vcpus(9, lambda n: 40 if n in (0, 8) else 100 + n),
    "near": HEAD + vcpus(2, lambda n: 40),
    "more-than-six": HEAD + vcpus(10, lambda n: 40),
    "alias": HEAD + "x-irq: &irq ppi:23\npmu: {irq: *irq}\nvcpus: 2\n",
    "alias-of-a-vcpu": HEAD
    + "x-vcpu: &vcpu {mpidr: 0.0.0.0, pmu_irg: 23}\n"
    + "vcpus:\n  - *vcpu\n  - {mpidr: 0.0.0.1}\n  - *vcpu\n",
    "one-long-line": '{"vmcfg": 1, "name": "vm", "vcpus": ['
    + ", ".join(
        f'{{"mpidr": "0.0.0.{n}", "pmu_irq": {40 if n in (1, 9) else 100 + n}}}' for n in range(12)
    )
    + "]}\n",
    "tabs": HEAD + "vcpus:\n  - mpidr:\t0.0.0.0\n    pmu_irq:\t\t7\t# tabs\n",
    "wide": HEAD
    + 'vcpus:\n  - {"mpidr": 0.0.0.0, "日本語のキー": "値", "pmu_irq": 7} # 絵文字 🙂\n',
    "combining": HEAD + 'vcpus:\n  - {"mpidr": 0.0.0.0, "cle\u0301": 1, "pmu_irq": 7}\n',
    "hostile": HEAD
    + 'vcpus:\n  - {"mpidr": 0.0.0.0, "\u202e\u2066key": 1, "[bold]": 2}'
    + " # \u202e:x: \u00a0\u200b\n",
    "no-value": HEAD + "vcpus:\n  - mpidr: 0.0.0.0\n    pmu_irq:\n",
    "whole": "- 1\n",
    "several-lines": HEAD
    + "vcpus: 2\ntimers:\n  - virtual: 27\n  - physical: 30\nmemory: |\n  base\n  size\n",
}


class Drawing(NamedTuple):
    """Findings to draw under a text: each is the number of its line and the words there.

    All pairs after the first are other positions of the same finding, each with a label.
    """

    text: str
    findings: tuple[tuple[tuple[int, str], ...], ...]

    def diagnostics(self) -> list[Diagnostic]:
        """Return the findings, with invented texts: the texts of rules are only in tests/cases."""
        return [self._diagnostic(first, others) for first, *others in self.findings]

    def _diagnostic(self, first: tuple[int, str], others: list[tuple[int, str]]) -> Diagnostic:
        _, marked = first
        related = [
            Related("vm.yaml", self._span(*other), f"other place {number}")
            for number, other in enumerate(others, 1)
        ]
        return Diagnostic(
            rule="VMC999",
            name="of-a-test",
            severity="error",
            message=f"{marked!r} is found, in a message longer than the narrowest terminal is wide",
            hint="a hint, which no width cuts: whoever copies it has it whole" if others else None,
            file="vm.yaml",
            span=self._span(*first),
            pointer="",
            related=tuple(related),
            kernel=Answer("KVM_RUN", "EINVAL", "run") if len(others) > 2 else None,
        )

    def _span(self, line: int, words: str) -> Span:
        """Return the span of the words, searched from that line on; without words, the position
        after its last colon.
        """
        whole = self.text.split("\n")[line - 1]
        first, *_, last = words.split("\n") if "\n" in words else (words, words)
        column = whole.rindex(first) + 1 if words else whole.rindex(":") + 2
        if first == words:
            return Span(line, column, line, column + len(words))
        return Span(line, column, line + words.count("\n"), len(last) + 1)


FINDINGS = {
    "far-apart": (((21, "40"), (5, "40")),),
    "near": (((7, "40"), (5, "40")),),
    "more-than-six": (((7, "40"), *((line, "40") for line in (5, 9, 11, 13, 15, 17))),),
    "alias": (((3, "&irq ppi:23"), (4, "*irq")),),
    "alias-of-a-vcpu": (((3, "pmu_irg"), (5, "*vcpu"), (7, "*vcpu")),),
    "one-long-line": (((1, '"0.0.0.9", "pmu_irq": 40'), (1, '"0.0.0.1", "pmu_irq": 40')),),
    "tabs": (((5, "7"),),),
    "wide": (((4, '"日本語のキー"'),),),
    "combining": (((4, '"cle\u0301"'),),),
    "hostile": (((4, '"\u202e\u2066key"'),), ((4, '"[bold]"'),)),
    "no-value": (((5, ""),),),
    "whole": (((1, "-"),),),
    "several-lines": (
        ((5, "- virtual: 27\n  - physical: 30"),),
        ((7, "|\n  base\n  size\n"),),
    ),
}
DRAWINGS = {name: Drawing(TEXTS[name], findings) for name, findings in FINDINGS.items()}


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", DRAWINGS)
def test_drawn_as_stands_in_its_file(
    name: str, width: int, same_as_file: Callable[[Path, bytes], None]
) -> None:
    text = TEXTS[name]
    drawn = human.drawn(DRAWINGS[name].diagnostics(), {"vm.yaml": text}, color=False, width=width)
    same_as_file(DRAWN / f"{name}.{width}.txt", drawn.encode())


def test_no_drawing_without_its_text() -> None:
    expected = {f"{name}.{width}.txt" for name in DRAWINGS for width in (40, 80, 200)}
    left = {path.name for path in DRAWN.iterdir()} - expected
    assert not left, f"no test draws these: remove {sorted(left)} in tests/drawn"


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", TEXTS)
def test_source_fits_and_first_lines_stay_whole(name: str, width: int) -> None:
    text = TEXTS[name]
    for found in check(text.encode(), "vm.yaml").diagnostics:
        rows = styled.plain(human.human(found, {"vm.yaml": text}, width)).splitlines()
        assert rows[0] == "".join(piece for piece, _ in concise.first_line(found))
        sources = [row for row in rows if re.match(" *[0-9]+ [|] ", row)]
        assert [row for row in sources if cell_len(row) > width] == []
        marked = [row for row in rows if re.match(" *[|] +[-^]", row)]
        assert len(marked) >= 1 + sum(each.span.line <= text.count("\n") for each in found.related)


def test_colors_change_no_word() -> None:
    for text in TEXTS.values():
        found = check(text.encode(), "vm.yaml").diagnostics
        colored = human.drawn(found, {"vm.yaml": text}, color=True, width=80)
        assert "\x1b[1;31m" in colored
        assert re.sub("\x1b\\[[0-9;]*m", "", colored) == human.drawn(
            found, {"vm.yaml": text}, color=False, width=80
        )


# Any text -----------------------------------------------------------------------------------------

CHARACTERS = "ab1:-{}[]# \tüé\u0301日🙂\u202e\x1b\xa0"


def found_at(span: Span, *related: Related, message: str = "message") -> Diagnostic:
    return Diagnostic("VMC999", "name", "error", message, None, "vm.yaml", span, "", related, None)


def as_shown(text: str) -> str:
    return "".join(
        "    "
        if char == "\t"
        else char
        if char.isprintable()
        else char.encode("unicode_escape").decode()
        for char in text
    )


@given(
    line=st.text(CHARACTERS, min_size=1, max_size=300),
    first=st.integers(0, 299),
    length=st.integers(0, 60),
    width=st.integers(24, 200),
)
@example(line="a" * 300, first=299, length=1, width=24)
@example(line="日" * 300, first=150, length=2, width=25)
@example(line="x\u0301:ab", first=3, length=1, width=80)
@example(line="1111\u03011", first=5, length=1, width=24)
@example(line="1111\u03011", first=4, length=1, width=24)
def test_what_is_underlined_is_what_was_found(
    line: str, first: int, length: int, width: int
) -> None:
    first = min(first, len(line))
    last = min(first + length, len(line))
    found = found_at(Span(1, first + 1, 1, last + 1))
    _, _, source, under, *_ = styled.plain(human.human(found, {"vm.yaml": line}, width)).split("\n")
    assert cell_len(source) <= width
    assert cell_len(under) <= width
    column, signs = under.index("^"), under.count("^")
    assert under == "  | ".ljust(column) + "^" * signs
    before, here = 0, ""
    for char in source:
        if column <= before < column + signs:
            here += char
        before += cell_len(char)
    # A combining accent has width 0, so the drawing cannot show whether it is underlined.
    here, shown = here.replace("\u0301", ""), as_shown(line[first:last]).replace("\u0301", "")
    if shown:
        assert here[: len(shown)] in (shown, shown[: len(here)]), (here, shown)
        assert here
    else:
        assert signs == 1


@given(
    line=st.text(CHARACTERS, min_size=1, max_size=300),
    columns=st.lists(st.integers(1, 300), min_size=1, max_size=7),
)
@example(line="a" * 300, columns=[150, 1, 300, 148, 290])
def test_every_place_is_shown(line: str, columns: list[int]) -> None:
    spans = [Span(1, min(column, len(line)), 1, min(column, len(line)) + 1) for column in columns]
    found = found_at(
        spans[0],
        *(Related("vm.yaml", span, f"<{number}>") for number, span in enumerate(spans[1:])),
    )
    drawn = styled.plain(human.human(found, {"vm.yaml": line}, 60))
    for number in range(len(spans) - 1):
        assert drawn.count(f"<{number}>") == 1
    assert len(re.findall("^ +[|] *[-^]", drawn, re.MULTILINE)) == len(spans)


def test_nothing_in_a_finding_drives_a_terminal() -> None:
    bad = "\x1b[31m\u202e\n::error::\x9b"
    found = Diagnostic(
        "VMC999",
        "name",
        "error",
        bad,
        bad,
        bad,
        Span(1, 1, 1, 2),
        "",
        (Related(bad, Span(1, 1, 1, 2), bad),),
        Answer(bad),
    )
    for color in (False, True):
        drawn = human.drawn([found], {bad: bad}, color)
        assert re.sub("\x1b\\[[0-9;]*m|\n", "", drawn).isprintable()
        assert drawn.count("\n") == 9
    assert concise.concise(found).isprintable()


def test_another_file_is_named() -> None:
    found = found_at(Span(1, 1, 1, 5), Related("other.yaml", Span(7, 14, 7, 16), "first used here"))
    assert "\n ::: other.yaml:7:14 first used here\n" in styled.plain(
        human.human(found, {"vm.yaml": "text"})
    )


def test_what_an_encoding_lacks_is_escaped_and_underlined() -> None:
    text = HEAD + 'vcpus: 1\n"für": "日"\n'
    drawn = human.drawn(
        check(text.encode(), "vm.yaml").diagnostics,
        {"vm.yaml": text},
        color=False,
        encoding="ascii",
    )
    source, under = re.findall(r"^(?:4|  ?)[ ]?[|] (.*)\n  [|] ( *\^+)", drawn, re.MULTILINE)[0]
    assert source == '"f\\xfcr": "\\u65e5"'
    assert under == "^" * len('"f\\xfcr"')


# Terminals and pipes ------------------------------------------------------------------------------


def help_line(found: list[Diagnostic]) -> str:
    return human.help_line([each.rule for each in found], color=False)


def printed_on_a_terminal(columns: int, args: list[str], cwd: Path) -> str:
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vmcfg", *args],
        cwd=cwd,
        env={**env, "NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
    )
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # without a writer, reading a terminal fails
        while True:
            seen += os.read(reader, 4096)
    os.close(reader)
    assert process.wait(timeout=60) == 1
    return seen.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_is_filled_and_no_more(tmp_path: Path, columns: int) -> None:
    text = TEXTS["one-long-line"]
    (tmp_path / "vm.yaml").write_text(text)
    seen = printed_on_a_terminal(columns, ["validate", "vm.yaml"], tmp_path)
    found = check(text.encode(), "vm.yaml").diagnostics
    drawn = human.drawn(found, {"vm.yaml": text}, color=False, width=columns)
    assert seen == drawn + help_line(found)


def test_a_pipe_has_its_own_width_whatever_columns_says(tmp_path: Path) -> None:
    text = TEXTS["one-long-line"]
    (tmp_path / "vm.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "vmcfg", "validate", "vm.yaml"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "40", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = check(text.encode(), "vm.yaml").diagnostics
    assert done.stdout == human.drawn(found, {"vm.yaml": text}, color=False) + help_line(found)
