"""REFERENCE.md: what `vmcfg explain`, the help, and the schemas contain, on one page.

Its hand-written parts are in reference_parts/, one file per part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vmcfg import files
from vmcfg.commands.schema import SCHEMAS
from vmcfg.description.model import (
    Description,
    Either,
    Field,
    Kind,
    ListOf,
    every_field,
    fields,
    kind_words,
    required,
)
from vmcfg.findings.diagnostic import Diagnostic
from vmcfg.findings.rule import Rule
from vmcfg.kernel.version import NEVER
from vmcfg.plans import schema as plan_schema
from vmcfg.plans.apis import API_DOCS
from vmcfg.plans.command import Row
from vmcfg.plans.operations import OPERATIONS
from vmcfg.plans.order import CONSTRAINTS
from vmcfg.plans.phases import PHASE_DOCS
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.plans.state_order import STATE_CONSTRAINTS
from vmcfg.reference.attribute_text import (
    apis_note,
    errors_of,
    flow_text,
    group_text,
    number_text,
    read_back_text,
    since_text,
)
from vmcfg.reference.conditional_examples import CONDITIONAL_EXAMPLES
from vmcfg.reference.every_rule import every_rule
from vmcfg.reference.examples import example_name
from vmcfg.reference.order_text import reason_text, rows_text
from vmcfg.reference.plan_fields import (
    NUMBERS,
    field_meanings,
    numbers_texts,
    operation_texts,
    type_texts,
)
from vmcfg.reference.rule_text import FOUND_BY, finding_lines, findings_in, text_of
from vmcfg.reference.state_text import LIMITS as STATE_LIMITS
from vmcfg.reference.state_text import shown_rows
from vmcfg.reference.surprises import accepted, differences, rejected_late
from vmcfg.shell.command_line import BREAKS, Command, commands, exit_codes, group_options
from vmcfg.shell.manual import ENVIRONMENT
from vmcfg.shell.markdown import (
    block,
    escaped,
    heading,
    headings,
    item,
    link,
    paragraph,
    table,
)
from vmcfg.vm.identifier_limits import LIMITS

PARTS = Path(__file__).parent / "reference_parts"
"""The directory of the hand-written parts."""

HUNDREDS = {
    "1": "Rules for text, keys, and values",
    "2": "Rules for memory",
    "3": "Rules for vCPUs",
    "4": "Rules for the GIC and devices",
    "5": "Rules for the PMU",
    "6": "Rules for timers, steal time, and SMCCC",
    "7": "Rules for host kernels and hosts",
    "8": "Rules for interfaces and VMMs",
    "9": "Rules for the answers of a kernel",
}
"""The heading of each hundred of rules."""

CONTENTS = "CONTENTS"
"""The line of the first part that the list of contents replaces."""


def page(cases: Path) -> str:
    """Return the text of REFERENCE.md; `cases` is the directory with the cases of the tests."""
    body: list[str] = []
    for name, generated in _sections(cases):
        body += [part(name), ""]
        if generated is not None:
            body += generated()
    text = "\n".join(body)
    shown = "\n".join(_contents(text))
    return f"{text.replace(CONTENTS, shown, 1).rstrip()}\n"


def part(name: str) -> str:
    """Return the text of a hand-written part."""
    return (PARTS / f"{name}.md").read_text(encoding="utf-8").rstrip("\n")


def _sections(cases: Path) -> Iterator[tuple[str, Callable[[], Iterator[str]] | None]]:
    """Yield the parts in their order, each with the generated text that follows it."""
    yield "introduction", None
    yield "descriptions", _keys
    yield "imports", None
    yield "rules", lambda: _rules(cases)
    yield "surprises", lambda: _surprises(cases)
    yield "commands", _rows
    yield "order", _order
    yield "identifiers", _identifiers
    yield "state", _state
    yield "plans", _plan_parts
    yield "records", None
    yield "reports", _report_keys
    yield "command-line", _command_line
    yield "integrations", None


def _contents(text: str) -> Iterator[str]:
    """Yield a list of the sections of the page, and of the topics below them."""
    listed = {*HUNDREDS.values()}
    for level, words in headings(text):
        if level == 2 or (level == 3 and words in listed):
            yield f"{'  ' * (level - 2)}- {link(words)}"


# Keys ---------------------------------------------------------------------------------------------


def _key_heading(path: str) -> str:
    return f"`{path}`"


def _keys() -> Iterator[str]:
    """Yield every key: first all in a table, then each with what there is to know of it."""
    keys = every_field()
    needed = set(_required(Description, ""))
    yield from table(
        ("key", "value", "default"),
        (
            (
                link(f"`{path}`", _key_heading(path)),
                escaped(_value_text(field.kind)),
                _default_text(path, field, needed),
            )
            for path, field in keys.items()
        ),
    )
    for path, field in keys.items():
        yield from heading(4 if "." in path else 3, _key_heading(path))
        yield from paragraph(field.doc)
        yield from item("Value", escaped(_value_text(field.kind)))
        if path in needed:
            yield from item("Required", "yes")
        else:
            yield from item("Default", _default_text(path, field, needed))
        if field.examples:
            yield from item(
                "Example", " or ".join(f"`{flow_text(each)}`" for each in field.examples)
            )
        yield from item("Commands", _commands_text(path))
        yield ""


def _required(mapping: type[Any], prefix: str) -> Iterator[str]:
    """Yield the paths of the keys that their mapping must have."""
    yield from (prefix + name for name in required(mapping))
    for name, field in fields(mapping).items():
        inner = _mapping_in(field.kind)
        if inner is not None:
            yield from _required(inner, f"{prefix}{name}.")


def _list_in(kind: Kind) -> ListOf | None:
    """Return the list that a kind of value is or can be."""
    full = kind.full if isinstance(kind, Either) else kind
    return full if isinstance(full, ListOf) else None


def _mapping_in(kind: Kind) -> type[Any] | None:
    """Return the mapping that a kind of value is, or that the items of its list are."""
    full = kind.full if isinstance(kind, Either) else kind
    inner = full.item if isinstance(full, ListOf) else full
    return inner if isinstance(inner, type) else None


def _value_text(kind: Kind) -> str:
    """Return what can be written for a key, with what each item of a list can be."""
    words = kind_words(kind)
    many = _list_in(kind)
    if many is None or isinstance(many.item, type):
        return words
    return f"{words}, each {kind_words(many.item)}"


def _default_text(path: str, field: Field, needed: set[str]) -> str:
    if path in needed:
        return "required"
    return "not set" if field.default is None else escaped(field.default)


def _commands_text(path: str) -> str:
    """Return links to the commands that carry a key; those of the list for a key of its items."""
    sent = [row for row in SEQUENCE if path in (row.name, row.field)]
    if sent:
        return ", ".join(f"{_row_link(row)} ({_linux(row)})" for row in sent)
    parent = path.rpartition(".")[0]
    if parent and _list_in(every_field()[parent].kind):
        return f"see {link(f'`{parent}`', _key_heading(parent))}"
    return "none"


# Rules --------------------------------------------------------------------------------------------


def _rule_heading(rule: Rule) -> str:
    return f"{rule.id} {rule.name}"


def _rule_link(rule: Rule) -> str:
    return link(_rule_heading(rule))


def _rules(cases: Path) -> Iterator[str]:
    """Yield every rule: first all in a table, then each with its example."""
    yield from table(
        ("rule", "severity", "summary"),
        ((_rule_link(rule), rule.severity, escaped(rule.paragraphs[0])) for rule in every_rule()),
    )
    hundred = None
    for rule in every_rule():
        if rule.id[3] != hundred:
            hundred = rule.id[3]
            yield from heading(3, HUNDREDS[hundred])
        yield from _rule(rule, cases)


def _rule(rule: Rule, cases: Path) -> Iterator[str]:
    yield from heading(4, _rule_heading(rule))
    for text in rule.paragraphs:
        yield from paragraph(text)
    if rule.found_by in FOUND_BY:
        yield from paragraph(FOUND_BY[rule.found_by])
    name = example_name(rule.id)
    if name is not None:
        case = cases / name
        yield from _example(text_of(case), findings_in(case, rule))
    conditional = CONDITIONAL_EXAMPLES.get(rule.id)
    if conditional is not None:
        yield from paragraph(f"For example, {conditional.condition}:")
        yield from _example(conditional.text, conditional.findings(rule.id))
    if rule.source is not None:
        yield from paragraph(f"Source: {rule.source}")


def _example(text: str, found: Iterable[Diagnostic]) -> Iterator[str]:
    """Yield a description and its findings."""
    yield from block("yaml", text.splitlines())
    yield from block("text", (line for each in found for line in finding_lines(each)))


# Surprises ----------------------------------------------------------------------------------------


def _surprises(cases: Path) -> Iterator[str]:
    """Yield what KVM accepts, where documentation and code differ, and what KVM rejects late."""
    yield from heading(3, "Accepted, but wrong")
    surprises = list(accepted(cases.glob("VMC*.yaml")))
    for rule, _, _ in surprises:
        yield f"- {link(_accepted_heading(rule))}"
    yield ""
    for rule, case, found in surprises:
        yield from heading(4, _accepted_heading(rule))
        for text in rule.paragraphs:
            yield from paragraph(text)
        yield from _example(text_of(case), found)
        if rule.source is not None:
            yield from paragraph(f"Source: {rule.source}")
        yield f"Rule: {_rule_link(rule)}."
        yield ""
    yield from heading(3, "Documentation and code differ")
    for each in differences():
        source = "" if each.source is None else f" Source: {escaped(each.source)}"
        yield from item(_title(each.about), escaped(each.text) + source)
    yield ""
    yield from heading(3, "Rejected late")
    yield from paragraph(
        "KVM accepts these values when they are set. The call that fails comes later, when most"
        " values can no longer be changed."
    )
    for rule in rejected_late():
        yield from item(_rule_link(rule), escaped(str(rule.kernel)))
    yield ""


def _accepted_heading(rule: Rule) -> str:
    return f"Accepted: {rule.name} ({rule.id})"


def _title(about: Rule | Row | str) -> str:
    """Return a link to a rule or a command; or the name of an identifier."""
    if isinstance(about, Rule):
        return _rule_link(about)
    return _row_link(about) if isinstance(about, Row) else escaped(about)


# Commands, order, identifiers ---------------------------------------------------------------------


def _row_heading(row: Row) -> str:
    return f"Command `{row.name}`"


def _row_link(row: Row) -> str:
    return link(f"`{row.name}`", _row_heading(row))


def _linux(row: Row) -> str:
    """Return since when Linux accepts the command of a row."""
    since = since_text(row)
    return since if row.since == NEVER else f"Linux {since}"


def _rows() -> Iterator[str]:
    """Yield every row of the sequence."""
    yield from table(
        ("command", "sends", "key", "since"),
        (
            (
                _row_link(row),
                f"`{row.operation.word}`" + ("" if row.attr is None else f" `{row.attr.title}`"),
                link(f"`{row.field}`", _key_heading(row.field)),
                _linux(row),
            )
            for row in SEQUENCE
        ),
    )
    for row in SEQUENCE:
        yield from _row(row)


def _row(row: Row) -> Iterator[str]:
    yield from heading(3, _row_heading(row))
    yield from paragraph(row.doc)
    if row.guest:
        yield from paragraph(escaped(row.guest))
    call = f"`{row.operation.word}` on the {row.target}, ioctl `{row.operation.ioctl}`"
    yield from item("Command", f"{call}, phase {row.phase}{escaped(apis_note(row))}")
    if row.attr is not None:
        yield from item("Attribute", f"group {group_text(row.attr)}, {number_text(row)}")
    yield from item("Key", link(f"`{row.field}`", _key_heading(row.field)))
    yield from item("Value", escaped(row.value.explained))
    yield from item("Read back", read_back_text(row))
    yield from item("Since", _linux(row))
    for errno, words in errors_of(row).items():
        yield from item(f"`{errno}`", escaped(words))
    yield from item("Source", escaped(row.source))
    yield ""


def _order() -> Iterator[str]:
    """Yield the rows by phases, then each constraint with its reason."""
    for phase, doc in PHASE_DOCS.items():
        rows = [row for row in SEQUENCE if row.phase == phase]
        yield from heading(3, f"Phase {phase}")
        yield from paragraph(doc)
        yield from (f"1. {_row_link(row)}" for row in rows)
        yield ""
    yield from heading(3, "Reasons for the order")
    yield from table(
        ("commands", "reason", "source"),
        (
            (escaped(rows_text(each)), escaped(reason_text(each)), escaped(each.source))
            for each in CONSTRAINTS
        ),
    )


def _state() -> Iterator[str]:
    """Yield what a program must know, the registers of both GIC versions, and the reasons."""
    for limit in STATE_LIMITS:
        yield f"- {escaped(limit)}"
    yield ""
    for version in (3, 2):
        yield from heading(3, f"State of a GICv{version}")
        yield from table(
            ("register", "use", "of", "attribute", "width", "only", "source"),
            (
                (
                    f"`{row.register}`",
                    row.use,
                    row.owner,
                    f"`{row.attribute}`",
                    row.width,
                    row.when,
                    escaped(row.source),
                )
                for row in shown_rows(version)
            ),
        )
    yield from heading(3, "Reasons for the order of a restore")
    yield from table(
        ("registers", "reason", "source"),
        (
            (f"`{each.before}*` before `{each.after}*`", escaped(each.why), escaped(each.source))
            for each in STATE_CONSTRAINTS
        ),
    )


def _identifiers() -> Iterator[str]:
    """Yield how each interface identifies a vCPU, then the limits of each identifier."""
    yield from heading(3, "The vCPU of a PMU interrupt")
    for api, doc in API_DOCS.items():
        yield from item(f"`--api {api}`", escaped(doc))
    yield ""
    yield from heading(3, "Limits of the identifiers")
    for limit in LIMITS:
        yield from heading(4, escaped(limit.name))
        yield from paragraph(limit.holds)
        yield from paragraph(limit.bites)
        yield from paragraph(f"Source: {limit.source}")


# Formats ------------------------------------------------------------------------------------------

Schema = dict[str, Any]


def _plan_parts() -> Iterator[str]:
    """Yield the six fields of plans in text, then the keys of plans in JSON."""
    yield from heading(3, "The six fields")
    yield from table(
        ("field", "meaning"),
        ((f"`{field}`", escaped(meaning)) for field, meaning in field_meanings().items()),
    )
    yield from table(
        ("op", "ioctl", "printed", "target", "type"),
        (
            (f"`{each.word}`", f"`{each.ioctl}`", each.printed, each.targets, each.types)
            for each in operation_texts()
        ),
    )
    yield from table(
        ("type", "value in memory", "value in a plan"),
        ((f"`{each.word}`", each.explained, f"`{each.form}`") for each in type_texts()),
    )
    yield from paragraph(NUMBERS)
    yield from heading(3, "Lines in numbers")
    yield from paragraph(
        "`sscanf()` reads each line of `emit --numbers` with the format of its operation. `%u` is"
        " an `unsigned int`, and `%llx` an `unsigned long long`. An ITS is `its:N`; the other"
        " words of a target without a number are `vm`, `gic`, and `pmu`."
    )
    yield from table(
        ("op", "format of sscanf()", "what follows the target"),
        (
            (f"`{each.word}`", f'`"{each.scanned}"`', escaped(each.meaning))
            for each in numbers_texts()
        ),
    )
    yield from _plan_keys()


def _plan_keys() -> Iterator[str]:
    """Yield the keys of plans in JSON."""
    definitions = plan_schema.schema()["$defs"]
    yield from heading(3, "Header of a plan")
    yield from _properties(definitions["header"], definitions)
    yield from heading(3, "Commands of a plan")
    yield from _properties(definitions["command"], definitions)
    yield from heading(3, "Arguments of the ioctls")
    yield from table(
        ("op", "ioctl", "key", "meaning"),
        (
            (f"`{operation.word}`", f"`{operation.ioctl}`", f"`{key}`", _meaning(each, definitions))
            for operation in OPERATIONS
            for key, each in definitions[operation.word]["properties"].items()
            if isinstance(each, dict) and "description" in each
        ),
    )
    yield from heading(3, "Origin of a command")
    yield from _properties(definitions["origin"], definitions)


def _report_keys() -> Iterator[str]:
    """Yield the keys of the reports in JSON."""
    schema = _packed_schema("diagnostics")
    definitions = schema["$defs"]
    yield from heading(3, "Findings in JSON")
    yield from _properties(schema, definitions)
    for name, title in (
        ("diagnostic", "One finding"),
        ("related", "A related position"),
        ("answer", "The answer of the kernel"),
        ("fix", "A fix"),
    ):
        yield from heading(4, title)
        yield from _properties(definitions[name], definitions)
    for name, title in (
        ("diff", "Differences in JSON"),
        ("show", "Identifiers in JSON"),
        ("try", "Report of a plan that was executed"),
        ("tries", "Reports of several plans"),
        ("host", "Host files"),
    ):
        schema = _packed_schema(name)
        yield from heading(3, title)
        yield from paragraph(schema["description"])
        yield from _properties(schema, schema.get("$defs", {}))
        file = f"schemas/{name}-v1.schema.json"
        printed = f"; `vmcfg schema {name}` prints it" if name in SCHEMAS else ""
        yield f"The schema is [{file}]({file}){printed}."
        yield ""


def _packed_schema(name: str) -> Schema:
    path = files.packed("schemas") / f"{name}-v1.schema.json"
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema


def _properties(schema: Schema, definitions: dict[str, Schema]) -> Iterator[str]:
    """Yield a table of the keys of an object."""
    needed = schema.get("required", [])
    yield from table(
        ("key", "required", "meaning"),
        (
            (f"`{key}`", "yes" if key in needed else "no", _meaning(each, definitions))
            for key, each in schema["properties"].items()
        ),
    )


def _meaning(schema: Schema, definitions: dict[str, Schema]) -> str:
    """Return what a schema says of a value: its own description, or that of its definition."""
    described = schema
    while "description" not in described and "$ref" in described:
        described = definitions[described["$ref"].rpartition("/")[2]]
    words = escaped(described.get("description", ""))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if not values:
        return words
    listed = ", ".join(f"`{json.dumps(value)}`" for value in values)
    return f"{words} One of: {listed}." if len(values) > 1 else f"{words} Always {listed}."


# The command line ---------------------------------------------------------------------------------


def _command_line() -> Iterator[str]:
    """Yield every command with its options, the exit codes, and the environment variables."""
    yield from heading(3, "Exit codes")
    yield from table(
        ("exit code", "meaning"), ((code, escaped(words)) for code, words in exit_codes())
    )
    yield from heading(3, "Environment variables")
    yield from table(
        ("variable", "meaning"), ((f"`{name}`", escaped(words)) for name, words in ENVIRONMENT)
    )
    for command in commands():
        yield from _command(command)
    yield from heading(3, "Options of vmcfg itself")
    yield from table(
        ("option", "meaning"),
        (
            (", ".join(f"`{name}`" for name in option.names), escaped(option.help))
            for option in group_options()
        ),
    )


def _command(command: Command) -> Iterator[str]:
    yield from heading(3, f"`vmcfg {command.name}`")
    yield from block("text", [f"vmcfg {command.name} {command.usage}"])
    for text in command.paragraphs:
        if text.startswith(BREAKS):
            yield from block("text", text.removeprefix(BREAKS).strip("\n").split("\n"))
        else:
            yield from paragraph(text)
    yield from table(
        ("option", "meaning"),
        (
            (
                ", ".join(f"`{name}`" for name in option.names)
                + ("" if option.metavar is None else f" `{option.metavar}`"),
                escaped(option.help),
            )
            for option in command.options
        ),
    )
