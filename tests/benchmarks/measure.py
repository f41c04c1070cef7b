"""All measurements, as a table on standard output and as JSON; tests/benchmarks/run starts this
program.

Each group compares its commands with its first one, the baseline. A ratio is the median of the
ratios per round, because a disturbance of the machine lasts longer than a round. Exit codes: 1 if a
target is missed, 2 if a command did not do its work.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml
from boot import bare_boot
from children import ALL_CORES, Command, Run, Unfit, interleaved, names, run, silent
from descriptions import PROBLEM, listed, many

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "benchmarks"
PYTHON = BUILD / "vmcfg" / "bin" / "python"
VMCFG = BUILD / "vmcfg" / "bin" / "vmcfg"
YAMLLINT = BUILD / "others" / "bin" / "yamllint"
CHECK_JSONSCHEMA = BUILD / "others" / "bin" / "check-jsonschema"
SCHEMA = ROOT / "schemas" / "vm-v1.schema.json"

IMPORTS = "import click, yaml"
LOAD = "import click, sys, yaml; yaml.load(open(sys.argv[1]), Loader=yaml.CSafeLoader)"
COUNTS = (4, 16, 64, 128, 512)


class Spread(NamedTuple):
    """The median of several values, and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of `values`."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def shown(self, digits: int, factor: float = 1) -> str:
        """Return the three numbers for the table."""
        median, low, high = (f"{value * factor:.{digits}f}" for value in self)
        return f"{median} ({low}-{high})"


class Line(NamedTuple):
    """A line of a table: values by column, and the ratio with its target, if there is one."""

    name: str
    values: dict[str, Spread]
    ratio: Spread | None = None
    target: str = ""
    met: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the line with the keys of the results."""
        values = {column: spread._asdict() for column, spread in self.values.items()}
        ratio = self.ratio and self.ratio._asdict()
        return {
            "name": self.name,
            **values,
            "ratio": ratio,
            "target": self.target or None,
            "met": self.met,
        }


class Group(NamedTuple):
    """Measurements that belong together."""

    title: str
    lines: list[Line]


def at_most(bound: float) -> Callable[[Spread], tuple[str, bool]]:
    """Return a target that is met if the ratio is at most `bound`."""
    return lambda ratio: (f"<= {bound:g}", ratio.median <= bound)


def at_least(bound: float) -> Callable[[Spread], tuple[str, bool]]:
    """Return a target that is met if the ratio is at least `bound`."""
    return lambda ratio: (f">= {bound:g}", ratio.median >= bound)


Target = Callable[[Spread], tuple[str, bool]]


def lines(
    runs: dict[str, list[Run]], column: str, targets: dict[str, Target], *, speed: bool = False
) -> list[Line]:
    """Return one line per command. A ratio is `column` divided by that of the baseline; with
    `speed`, the reverse.
    """
    baseline = next(iter(runs.values()))
    found = []
    for name, each in runs.items():
        pairs = [
            (getattr(one, column), getattr(base, column))
            for one, base in zip(each, baseline, strict=True)
        ]
        ratio = Spread.of([base / one if speed else one / base for one, base in pairs])
        values = {field: Spread.of([getattr(one, field) for one in each]) for field in Run._fields}
        target, met = targets[name](ratio) if name in targets else ("", None)
        found.append(Line(name, values, ratio, target, met))
    return found


def start(rounds: int) -> Iterator[Group]:
    """Yield the shortest run of each program: one description of 4 vCPUs without findings."""
    small = BUILD / "small.yaml"
    small.write_text(listed(4))
    commands = [
        Command("python -c 'import click, yaml'", [PYTHON, "-c", IMPORTS], 0, silent),
        Command("vmcfg validate", [VMCFG, "validate", small], 0, silent),
        Command("vmcfg emit", [VMCFG, "emit", small], 0, has_lines(8)),
        Command("vmcfg --help", [VMCFG, "--help"], 0, contains("validate")),
        Command("vmcfg explain VMC503", [VMCFG, "explain", "VMC503"], 0, contains("VMC503")),
        Command("vmcfg example minimal", [VMCFG, "example", "minimal"], 0, contains("vmcfg: 1")),
        Command("yamllint", [YAMLLINT, small], 0, silent),
        Command(
            "check-jsonschema", [CHECK_JSONSCHEMA, "--schemafile", SCHEMA, small], 0, contains("ok")
        ),
        Command("python -c pass", [PYTHON, "-c", "pass"], 0, silent),
    ]
    runs = interleaved(commands, rounds)
    vmcfg = statistics.median(one.cpu for one in runs["vmcfg validate"])
    targets: dict[str, Target] = {"vmcfg validate": at_most(1.2)}
    for name in ("vmcfg --help", "vmcfg explain VMC503", "vmcfg example minimal"):
        targets[name] = at_most(1.3)
    for name in ("yamllint", "check-jsonschema"):
        other = statistics.median(one.cpu for one in runs[name])
        targets[name] = lambda _, other=other: ("above vmcfg", other > vmcfg)  # type: ignore[misc]
    yield Group(
        "start-up: a description of 4 vCPUs (ratio of CPU time)", lines(runs, "cpu", targets)
    )
    if shutil.which("valgrind"):
        counts = {command.name: instructions(command) for command in commands[:6]}
        base = counts[commands[0].name]
        yield Group(
            "start-up in instructions, regardless of other load (in millions, by valgrind)",
            [
                Line(name, {"instructions": Spread.of([count / 1e6])}, Spread.of([count / base]))
                for name, count in counts.items()
            ],
        )


def instructions(command: Command) -> int:
    """Return the number of instructions that a command executes."""
    counted = BUILD / "cachegrind.out"
    tool = [
        "/usr/bin/env",
        "PYTHONHASHSEED=0",
        "valgrind",
        "-q",
        "--tool=cachegrind",
        "--cache-sim=no",
    ]
    run(command._replace(argv=[*tool, f"--cachegrind-out-file={counted}", *command.argv]), 1)
    summary = counted.read_text().rpartition("summary:")[2]
    return int(summary.split()[0])


def vcpus(rounds: int) -> Iterator[Group]:
    """Yield reading, checking, and emitting in one process, relative to `yaml.load`."""
    words = [*map(str, COUNTS), "512:spis", "512:irq_first"]
    argv = [os.fspath(PYTHON), os.fspath(Path(__file__).with_name("inside.py")), *words]
    passes = [
        json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        for _ in range(rounds)
    ]
    targets = {"check": at_most(1.0), "check and emit": at_most(2.0)}
    ratios: dict[tuple[str, str], list[float]] = {}
    for word in words:
        found = []
        for name in ("yaml.load", "check", "check and emit"):
            ratios[word, name] = [each[word][name] / each[word]["yaml.load"] for each in passes]
            ratio = Spread.of(ratios[word, name])
            target, met = (
                targets[name](ratio) if word.startswith("512") and name in targets else ("", None)
            )
            cost = Spread.of([each[word][name] for each in passes])
            found.append(Line(name, {"cpu": cost}, ratio, target, met))
        count, _, how = word.partition(":")
        what = {"": "", "spis": ", one SPI per vCPU", "irq_first": ", pmu_irq before mpidr"}[how]
        yield Group(
            f"{count} vCPUs one by one{what}, in one process (ratio to yaml.load with CSafeLoader)",
            found,
        )
    flat = []
    for name in ("check", "check and emit"):
        ratio = Spread.of(
            [
                at_512 / at_16
                for at_512, at_16 in zip(ratios["512", name], ratios["16", name], strict=True)
            ]
        )
        target, met = at_most(1.3)(ratio) if name == "check" else ("", None)
        flat.append(Line(name, {}, ratio, target, met))
    yield Group("cost per vCPU: ratio to yaml.load at 512 vCPUs, divided by that at 16", flat)


def in_one_process(rounds: int) -> Iterator[Group]:
    """Yield whole commands in one process that is warm, and the import of a device tree."""
    argv = [os.fspath(PYTHON), os.fspath(Path(__file__).with_name("inside.py")), "commands", "tree"]
    passes = [
        json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        for _ in range(rounds)
    ]
    for kind, title, targets in (
        ("commands", "512 vCPUs, whole commands (ratio to yaml.load with CSafeLoader)", FORMATS),
        ("tree", "device tree of 512 CPUs (ratio to libfdt reading all of it)", IMPORT),
    ):
        first, found = next(iter(passes[0][kind])), []
        for name in passes[0][kind]:
            ratio = Spread.of([each[kind][name] / each[kind][first] for each in passes])
            target, met = targets[name](ratio) if name in targets else ("", None)
            cost = Spread.of([each[kind][name] for each in passes])
            found.append(Line(name, {"cpu": cost}, ratio, target, met))
        yield Group(f"{title}, in one process", found)


FORMATS: dict[str, Target] = {
    "vmcfg emit --format jsonl": at_most(1.5),
    **{f"vmcfg emit --format {form}": at_most(1.95) for form in ("text", "json", "sh", "c")},
}
IMPORT: dict[str, Target] = {"import": at_most(3)}


def memory(rounds: int) -> Iterator[Group]:
    """Yield the peak memory of one process."""
    for count in (4, 512):
        path = BUILD / f"{count}.yaml"
        path.write_text(listed(count))
        commands = [
            Command(
                "python -c 'import click, yaml; yaml.load(...)'",
                [PYTHON, "-c", LOAD, path],
                0,
                silent,
            ),
            Command("vmcfg validate", [VMCFG, "validate", path], 0, silent),
            Command(
                "vmcfg emit --format jsonl",
                [VMCFG, "emit", "--format", "jsonl", path],
                0,
                has_lines(2 * count + 2),
            ),
        ]
        runs = interleaved(commands, rounds)
        yield Group(
            f"peak memory, {count} vCPUs listed one by one (ratio of peaks)",
            lines(runs, "peak", {}),
        )


def formats(rounds: int) -> Iterator[Group]:
    """Yield the plan of 512 vCPUs in each format of `vmcfg emit`, as commands."""
    path = BUILD / "512.yaml"
    path.write_text(listed(512))
    script = "from vmcfg.formats.registry import PLAN_FORMATS; print(*PLAN_FORMATS)"
    known = subprocess.run(
        [PYTHON, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    commands = [Command("vmcfg validate", [VMCFG, "validate", path], 0, silent)]
    for name in known:
        argv: list[str | Path] = [VMCFG, "emit", "--format", name, path]
        plan = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        assert plan.count("\n") >= 1024, name
        commands.append(Command(f"vmcfg emit --format {name}", argv, 0, equals(plan)))
    yield Group(
        "the plan of 512 vCPUs in each format (ratio to validate)",
        lines(interleaved(commands, rounds), "cpu", {}),
    )


def files(rounds: int, count: int) -> Iterator[Group]:
    """Yield many descriptions in one command; it must report the problem in three of them."""
    folder = BUILD / f"files-{count}"
    paths, wrong = many(folder, count)
    argument = [os.fspath(path) for path in paths]
    commands = [
        Command("yamllint", [YAMLLINT, "-f", "parsable", *argument], 1, names(wrong)),
        Command(
            "check-jsonschema",
            [CHECK_JSONSCHEMA, "--schemafile", SCHEMA, *argument],
            1,
            names(wrong),
        ),
        Command(
            "vmcfg validate", [VMCFG, "validate", "--format", "concise", *argument], 1, names(wrong)
        ),
    ]
    for cores in (1, 2):
        if cores > ALL_CORES:
            continue
        runs = interleaved(commands, rounds, cores)
        title = f"{count:,} files of 4 vCPUs in one command, {cores} core{'s' * (cores > 1)}"
        for other in ("yamllint", "check-jsonschema"):
            pair = {name: runs[name] for name in (other, "vmcfg validate")}
            target: dict[str, Target] = {"vmcfg validate": at_least(12)} if cores == 2 else {}
            yield Group(
                f"{title} (files per second, ratio to {other})",
                lines(pair, "wall", target, speed=True),
            )


def emitting(rounds: int, count: int) -> Iterator[Group]:
    """Yield many descriptions emitted to a new directory, and again to one that is current."""
    folder, plans = BUILD / f"files-{count}-right", BUILD / f"plans-{count}"
    paths, _ = many(folder, count)
    for path in paths:
        path.write_text(path.read_text().replace(PROBLEM, ""))
    shutil.rmtree(plans, ignore_errors=True)
    # Each run has a directory of its own, because removing one takes time.
    new: list[str | Path] = [
        "/bin/sh",
        "-c",
        'exec "$0" emit "$1" -o "$2/$$/"',
        VMCFG,
        folder,
        plans,
    ]
    validate = Command("vmcfg validate", [VMCFG, "validate", folder], 0, silent)
    first = Command("vmcfg emit -o, new", new, 0, silent)
    again: list[str | Path] = [VMCFG, "emit", folder, "-o", f"{plans}/current/"]
    run(Command("emit", again, 0, silent), ALL_CORES)
    commands = [validate, first, Command("vmcfg emit -o, current", again, 0, silent)]
    half = at_least(0.5)
    yield Group(
        f"{count:,} files emitted, all cores (ratio of files per second)",
        lines(
            interleaved(commands, rounds),
            "wall",
            {command.name: half for command in commands[1:]},
            speed=True,
        ),
    )
    shutil.rmtree(plans)


def booting(rounds: int, kernel: Path) -> Iterator[Group]:
    """Yield `vmcfg try --image` of one description, and a bare boot of the same kernel."""
    with TemporaryDirectory() as folder:
        sample = ROOT / "sample-configs" / "minimal.yaml"
        tried: list[str | Path] = [VMCFG, "try", "--image", kernel, sample]
        ours = Command("vmcfg try --image", tried, 0, contains("commands executed"))
        run(ours, ALL_CORES)  # compiles the performer
        bare = Command("bare boot", bare_boot(kernel, Path(folder)), 0, contains("Power down"))
        yield Group(
            "a kernel booted under QEMU",
            lines(interleaved([bare, ours], rounds), "wall", {ours.name: at_most(1.5)}),
        )


def growth(rounds: int, counts: Sequence[int]) -> Iterator[Group]:
    """Yield one directory with more and more descriptions: time and memory."""
    commands = []
    for count in counts:
        folder = BUILD / f"files-{count}"
        _, wrong = many(folder, count)
        argv: list[str | Path] = [VMCFG, "validate", "--format", "concise", folder]
        commands.append(Command(f"vmcfg validate, {count:,} files", argv, 1, names(wrong)))
    yield Group(
        "a directory with more and more files, all cores (ratio of peaks)",
        lines(interleaved(commands, rounds), "peak", {}),
    )


def entries(rounds: int, count: int) -> Iterator[Group]:
    """Yield descriptions in which one structure has `count` entries, twice, and four times as many:
    right ones, and ones with a finding for each entry.
    """
    argv = [os.fspath(PYTHON), os.fspath(Path(__file__).with_name("entries.py")), str(count)]
    passes = [
        json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
        for _ in range(rounds)
    ]
    titles = {
        "right": "right descriptions",
        "defaults": "right descriptions with all entries in their defaults, which are read twice",
        "wrong": "descriptions with a finding for each entry",
    }
    for kind, title in titles.items():
        target = at_most(4) if kind == "right" else None
        loads, growths = [], []
        for name in passes[0][kind]:
            times = [each[kind][name] for each in passes]
            last = Spread.of([each["check"][-1] for each in times])
            load = Spread.of([each["check"][-1] / each["yaml.load"][-1] for each in times])
            loads.append(Line(name, {"cpu": last}, load, *(target(load) if target else ())))
            growth = Spread.of([each["check"][-1] / each["check"][0] / 4 for each in times])
            growths.append(Line(name, {}, growth, *at_most(2)(growth)))
        yield Group(f"{4 * count:,} entries, {title} (ratio to yaml.load with CSafeLoader)", loads)
        yield Group(
            f"cost per entry, {title}: at {4 * count:,} entries, divided by that at {count:,}",
            growths,
        )


def recording(rounds: int, count: int) -> Iterator[Group]:
    """Yield a program that makes `count` ioctls that are not recorded, and as many that are
    recorded or counted, without and with `vmcfg record`.
    """
    program = BUILD / "calls-kvm"
    source = ROOT / "tests" / "programs" / "calls-kvm.c"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", program, source], check=True)
    record: list[str | Path] = [VMCFG, "record", "-o", BUILD / "record.jsonl", "--"]
    for what, step, times, target in (
        ("KVM_RUN on a file that answers ENOTTY", f"other={count}", count, at_most(1.5)),
        ("KVM_CREATE_VM on that file", f"create-vm={count // 100}", count // 100, None),
    ):
        commands = [
            Command("without", [program, step], 0, silent),
            Command("vmcfg record", [*record, program, step], 0, silent),
        ]
        targets = {} if target is None else {"vmcfg record": target}
        yield Group(
            f"{times:,} times {what} (ratio of CPU time, with the start of vmcfg)",
            lines(interleaved(commands, rounds), "cpu", targets),
        )


def has_lines(count: int) -> Callable[[str], str | None]:
    """Return what is wrong with an output that must have this number of lines."""
    return lambda out: (
        None if out.count("\n") == count else f"it has {out.count(chr(10))} lines, and not {count}"
    )


def contains(word: str) -> Callable[[str], str | None]:
    """Return what is wrong with an output that must contain `word`."""
    return lambda out: None if word in out else f"it printed {out[:200]!r}"


def equals(text: str) -> Callable[[str], str | None]:
    """Return what is wrong with an output that must be `text`."""
    return lambda out: None if out == text else "its output differs from that of an earlier run"


def circumstances() -> dict[str, Any]:
    """Return what affects the numbers: commit, machine, and versions."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.strip()
    versions = {name: importlib.metadata.version(name) for name in ("vmcfg", "click", "PyYAML")}
    versions["libyaml"] = ".".join(map(str, yaml._yaml.get_version()))
    for program in (YAMLLINT, CHECK_JSONSCHEMA):
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        ).stdout
        versions[program.name] = said.split()[-1]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit or None,
        "machine": f"{platform.machine()}, {models[0] if models else 'unknown'}, {ALL_CORES} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg(),
    }


def table(group: Group) -> str:
    """Return a group as text."""
    columns: dict[str, Callable[[Spread], str]] = {
        "cpu": lambda spread: spread.shown(2, 1e3),
        "wall": lambda spread: spread.shown(2, 1e3),
        "peak": lambda spread: spread.shown(1, 1 / (1 << 20)),
        "instructions": lambda spread: f"{spread.median:.1f}",
    }
    units = {"cpu": "CPU ms", "wall": "wall ms", "peak": "peak MiB", "instructions": "millions"}
    used = [column for column in columns if column in group.lines[0].values]
    head = ["", *(units[column] for column in used), "ratio", "target"]
    rows = []
    for line in group.lines:
        cells = [columns[column](line.values[column]) for column in used]
        met = {None: "", True: f"{line.target}: met", False: f"{line.target}: MISSED"}[line.met]
        rows.append([line.name, *cells, line.ratio.shown(2) if line.ratio else "", met])
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    drawn = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([group.title, *(f"  {row}" for row in drawn), ""])


def main() -> int:
    """Measure the groups on the command line."""
    groups: dict[str, Callable[[argparse.Namespace], Iterator[Group]]] = {
        "start": lambda options: start(options.rounds),
        "vcpus": lambda options: vcpus(max(3, options.rounds // 4)),
        "process": lambda options: in_one_process(max(3, options.rounds // 4)),
        "memory": lambda options: memory(max(3, options.rounds // 4)),
        "formats": lambda options: formats(max(3, options.rounds // 4)),
        "files": lambda options: files(max(3, options.rounds // 5), options.files),
        "emitting": lambda options: emitting(max(3, options.rounds // 5), options.files),
        "growth": lambda options: growth(1, options.growth),
        "entries": lambda options: entries(1, options.entries),
        "recording": lambda options: recording(max(3, options.rounds // 8), options.ioctls),
        "booting": lambda options: booting(max(3, options.rounds // 8), options.kernel),
    }
    parser = argparse.ArgumentParser(
        prog="tests/benchmarks/run", description="Compare vmcfg with other programs."
    )
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help=f"one or more of {', '.join(groups)}; all by default",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=40,
        help="Number of runs of each start-up command; slower commands run less often.",
    )
    parser.add_argument("--files", type=int, default=2000, help="Number of files in one command.")
    parser.add_argument(
        "--growth",
        type=int,
        nargs="+",
        default=[20, 200, 2000],
        help="Numbers of files in a directory.",
    )
    parser.add_argument(
        "--entries",
        type=int,
        default=5000,
        help="Number of entries of a structure, which grows to four times as many.",
    )
    parser.add_argument(
        "--ioctls",
        type=int,
        default=10_000_000,
        help="Number of ioctls of a program that is recorded.",
    )
    parser.add_argument(
        "--kernel",
        type=Path,
        help="An arm64 kernel image for the group booting, which requires it.",
    )
    parser.add_argument(
        "--json", type=Path, default=BUILD / "results.json", help="File for the results as JSON."
    )
    options = parser.parse_args()
    unknown = [name for name in options.groups if name not in groups]
    if unknown:
        parser.error(f"unknown group: {', '.join(unknown)}")
    if "booting" in options.groups and options.kernel is None:
        parser.error("the group booting requires --kernel")
    chosen = options.groups or [name for name in groups if name != "booting" or options.kernel]
    told = circumstances()
    print("\n".join(f"{key}: {value}" for key, value in told.items()), end="\n\n")
    done = []
    try:
        for name in chosen:
            for group in groups[name](options):
                print(table(group), flush=True)
                done.append(group)
    except Unfit as error:
        print(f"tests/benchmarks/run: {error}", file=sys.stderr)
        return 2
    results = [
        {"title": group.title, "lines": [line.as_json() for line in group.lines]} for group in done
    ]
    options.json.write_text(json.dumps({**told, "groups": results}, indent=2) + "\n")
    return int(any(line.met is False for group in done for line in group.lines))


if __name__ == "__main__":
    sys.exit(main())
