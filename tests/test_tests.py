"""Every test can fail, and a failure can be repeated: tests/conftest.py lets a test fail that
executes no assertion, and these tests find what it cannot.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import seeds

ROOT = Path(__file__).parent.parent
FILES = sorted({*(ROOT / "tests").rglob("*.py")} - {*(ROOT / "tests/benchmarks").rglob("*.py")})

Mistakes = Callable[[ast.AST, Path], list[int]]
"""Returns the lines of a file that have a kind of mistake."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of the functions in it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, Function):
            yield from own_nodes(node)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@cache
def parsed(path: Path) -> ast.AST:
    """Return the tree of a file."""
    return ast.parse(path.read_bytes())


@cache
def calls(tree: ast.AST) -> list[tuple[int, str, str]]:
    """Return the line, the function, and the arguments of each call."""
    return [
        (node.lineno, ast.unparse(node.func), ", ".join(map(ast.unparse, node.args)))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def returns_of_tests(tree: ast.AST, path: Path) -> list[int]:
    return [
        node.lineno
        for function in functions(tree)
        if function.name.startswith("test_")
        for node in own_nodes(function)
        if isinstance(node, ast.Return)
    ]


def assertions_about_all(tree: ast.AST, path: Path) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        and isinstance(node.test, ast.Call)
        and ast.unparse(node.test.func) == "all"
    ]


def assertions_of_generators(tree: ast.AST, path: Path) -> list[int]:
    found = []
    for function in functions(tree):
        nodes = list(own_nodes(function))
        is_fixture = any("fixture" in ast.unparse(each) for each in function.decorator_list)
        if not is_fixture and any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
            found += [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    return found


def skips(tree: ast.AST, path: Path) -> list[int]:
    if path.name == "conftest.py":
        return []
    kinds = {"skip", "importorskip", "xfail", "mark.skip", "mark.skipif", "mark.xfail"}
    return [line for line, name, _ in calls(tree) if name.removeprefix("pytest.") in kinds]


def waits_for_any_child(tree: ast.AST, path: Path) -> list[int]:
    waiting = [each for each in calls(tree) if each[1] in ("os.waitpid", "os.wait")]
    return [line for line, _, arguments in waiting if arguments.startswith("-1") or not arguments]


def draws_without_the_seed(tree: ast.AST, path: Path) -> list[int]:
    found = [
        line
        for line, name, arguments in calls(tree)
        if name.startswith("random.") and not (name == "random.Random" and "SEED" in arguments)
    ]
    if path.name == "seeds.py":
        return found
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    return found + [
        each.value.lineno for each in keywords if each.arg in ("derandomize", "database")
    ]


MISTAKES: dict[Mistakes, tuple[str, str]] = {
    returns_of_tests: (
        "def test_a():\n    if not found:\n        return\n    assert found[0]",
        "do not return from a test: give it only parameters that it tests, or use 'assume'",
    ),
    assertions_about_all: (
        "def test_a():\n    assert all(each > 1 for each in found)",
        "'all' of nothing is true: compare a set with {True}, or a list",
    ),
    assertions_of_generators: (
        "def found():\n    assert 1\n    yield 2",
        "a generator might never be consumed: return a list",
    ),
    skips: (
        "def test_a():\n    pytest.skip('why')",
        "use not_here of tests/conftest.py: in CI, the test must fail",
    ),
    waits_for_any_child: (
        "def test_a():\n    os.waitpid(-1, 0)",
        "wait for a process by its id: another one can belong to another test",
    ),
    draws_without_the_seed: (
        "dice = random.Random(5)",
        "draw with SEED of tests/seeds.py",
    ),
}
"""What finds a kind of mistake in a file, an example of the mistake, and the remedy."""


@pytest.mark.parametrize("mistakes", MISTAKES, ids=lambda each: each.__name__)
def test_no_test_is_written_so_that_it_cannot_fail(
    mistakes: Mistakes,
) -> None:
    example, remedy = MISTAKES[mistakes]
    assert len(mistakes(ast.parse(example), Path("test_a.py"))) == 1
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in FILES
        for line in mistakes(parsed(path), path)
    ]
    assert not found, f"{', '.join(found)}: {remedy}"


# tests/conftest.py --------------------------------------------------------------------------------

EXAMPLE = """
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import *

def test_that_asserts():
    assert pytest

def test_of_nothing():
    for each in []:
        assert each

@given(st.integers(0, 1 << 64))
def test_that_draws(number):
    assert number % 77

@pytest.mark.timeout(1)
def test_that_hangs():
    assert pytest
    while True:
        pass
"""


def run_example(folder: Path, *arguments: str, seed: str = "") -> str:
    """Return the output of pytest for EXAMPLE, in the directory of the tests."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_example.py").write_text(EXAMPLE)
    options = ["-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments, "test_example.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VMCFG_SEED": seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_test_that_asserts_nothing_or_hangs_fails(tmp_path: Path) -> None:
    output = run_example(tmp_path, "-q", seed="7")
    assert "3 failed, 1 passed" in output
    assert "this test executed no 'assert', so that it cannot fail" in output
    assert "Timeout" in output
    for name in ("test_of_nothing", "test_that_draws", "test_that_hangs"):
        assert f"VMCFG_SEED=7 python -m pytest test_example.py::{name}\n" in output


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-q"], ["-n", "2"], ["-q", "-n", "2"]], ids=" ".join)
def test_every_run_prints_its_seed(options: list[str], tmp_path: Path) -> None:
    only = ("-k", "test_that_asserts")
    output = run_example(tmp_path, *options, *only)
    assert output.count(f"seed: VMCFG_SEED={seeds.DEFAULT}\n") == 1
    assert "1 passed" in output
    assert "seed: VMCFG_SEED=7\n" in run_example(tmp_path, *options, *only, seed="7")


@pytest.mark.slow
def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    def drawn(seed: str) -> list[str]:
        output = run_example(
            tmp_path, "-q", "-k", "test_that_draws", "--hypothesis-verbosity=verbose", seed=seed
        )
        return [line for line in output.splitlines() if "number=" in line]

    assert len(drawn("7")) > 10
    assert drawn("7") == drawn("7")
    assert drawn("7") != drawn("8")


GROUPED = """
import os
import pytest

@pytest.mark.xdist_group("kernel")
@pytest.mark.parametrize("number", range(4))
def test_it(number):
    print("worker", os.environ["PYTEST_XDIST_WORKER"])
    assert number >= 0
"""


@pytest.mark.slow
def test_a_group_runs_in_one_process(tmp_path: Path) -> None:
    """Otherwise, each process boots every kernel: twice the time, and no test fails."""
    (tmp_path / "test_grouped.py").write_text(GROUPED)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "2",
            "--dist",
            "loadgroup",
            "-rP",
            "test_grouped.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    workers = [line for line in done.stdout.splitlines() if line.startswith("worker ")]
    assert len(workers) == 4
    assert len(set(workers)) == 1
