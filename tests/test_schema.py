"""The schemas: that of descriptions agrees with the decoder, and all output matches the others."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click import Context
from hypothesis import given, settings
from jsonschema import Draft202012Validator

import vmcfg
from tests.processes import run_vmcfg
from tests.strategies import Json, descriptions, json_text, mutants, near_misses, shapes
from vmcfg.checking.check import check
from vmcfg.cli import COMMANDS
from vmcfg.cli import vmcfg as vmcfg_group
from vmcfg.commands import decode
from vmcfg.commands import schema as schema_command
from vmcfg.description.model import MAINTENANCE, Description, Field, every_field, kind_words
from vmcfg.description.schema import of_kind, text
from vmcfg.findings.diagnostic import RELATED_SHOWN
from vmcfg.findings.position import WHOLE, Position
from vmcfg.findings.rule import Phase
from vmcfg.formats.json_lines import json_object, jsonl
from vmcfg.kernel.version import version_text
from vmcfg.plans.apis import APIS
from vmcfg.plans.lowering import lower
from vmcfg.plans.operations import OPERATIONS
from vmcfg.plans.phases import PHASES
from vmcfg.plans.plan import ATTRIBUTES, SCOPES, WHOLE_VM
from vmcfg.plans.sequence import SEQUENCE
from vmcfg.reference.attribute_numbers import Numbers, numbers_json
from vmcfg.trial.calls import task_of
from vmcfg.trial.outcome import NOT_REACHED, Difference, Outcome, Run, Step
from vmcfg.trial.report import report_json
from vmcfg.trial.verdict import Tried
from vmcfg.vm.expansion import machine

SETTING_UP = (ATTRIBUTES, WHOLE_VM)
"""The scopes of plans that set up a VM; tests/test_state.py has the other one."""

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
CASES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))
TEXTS = [pytest.param(path, id=path.stem) for path in (*SAMPLES, *CASES)]


def generated(examples: int) -> settings:
    """Return settings for this number of documents."""
    return settings(max_examples=examples)


def schema(name: str) -> dict[str, Json]:
    """Return a schema of the repository."""
    found: dict[str, Json] = json.loads((ROOT / "schemas" / f"{name}-v1.schema.json").read_text())
    return found


SCHEMAS = {name: schema(name) for name in schema_command.SCHEMAS}
VM, PLAN, DIAGNOSTICS = (
    Draft202012Validator(SCHEMAS[name]) for name in ("vm", "plan", "diagnostics")
)


# The schema of descriptions -----------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas_with_names_of_their_own(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert SCHEMAS[name]["$id"] == f"urn:vmcfg:schema:{name}:1"


def test_vm_schema_is_current(same_as_file: Callable[[Path, bytes], None]) -> None:
    """`python -m vmcfg.shell` writes it."""
    same_as_file(ROOT / "schemas" / "vm-v1.schema.json", text().encode())


@pytest.mark.parametrize("args", [[], ["vm"], ["plan"], ["diagnostics"], ["diff"]])
def test_schema_is_printed_as_it_is_kept(args: list[str]) -> None:
    printed = run_vmcfg(["schema", *args]).stdout
    assert printed == (ROOT / "schemas" / f"{(args or ['vm'])[0]}-v1.schema.json").read_bytes()


def test_schemas_are_ascii_that_every_terminal_shows() -> None:
    for path in (ROOT / "schemas").iterdir():
        assert path.read_bytes().isascii(), path.name


def properties(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield every key of a schema, by its dotted path without list indices, with its subschema."""
    for key, inner in schema.get("properties", {}).items():
        if key != "$schema":
            yield path + key, inner
            yield from properties(inner, f"{path}{key}.")
            yield from properties(inner.get("items", {}), f"{path}{key}.")


def test_schema_and_decoder_know_the_same_keys() -> None:
    assert dict(properties(SCHEMAS["vm"])).keys() == every_field().keys()


def test_every_key_has_hover_help() -> None:
    for path, inner in properties(SCHEMAS["vm"]):
        assert inner["title"] == path
        assert inner["description"].endswith("."), path
        assert inner["description"].startswith(every_field()[path].doc), path
        if inner.get("type") != "object":
            assert inner["examples"], path


def test_examples_and_defaults_fit_their_own_keys() -> None:
    for path, inner in properties(SCHEMAS["vm"]):
        for value in [
            *inner.get("examples", ()),
            *([inner["default"]] if "default" in inner else ()),
        ]:
            assert Draft202012Validator(inner).is_valid(value), (path, value)


def test_defaults_are_those_of_the_decoder() -> None:
    defaults = {
        path: inner["default"] for path, inner in properties(SCHEMAS["vm"]) if "default" in inner
    }
    assert defaults == {
        "host_kernel": "6.1",
        "ipa_bits": 40,
        "vcpu_ids": "derived",
        "gic.set_up_by": "plan",
        "gic.maintenance_irq": 25,
        "timers.virtual": 27,
        "timers.physical": 30,
        "timers.hyp_virtual": 28,
        "timers.hyp_physical": 26,
    }
    default = Description(1, "vm", 1)
    for path, value in defaults.items():
        holder: Any = default
        section, _, key = path.rpartition(".")
        if section == "timers":
            assert default.timers.intid(key) == value
        elif not section:
            held = getattr(holder, key)
            if key == "host_kernel":
                held = version_text(machine(default).host_kernel)
            if key == "ipa_bits":
                held = machine(default).ipa_bits
            assert value == held
    assert every_field()["gic.set_up_by"].default == "plan"
    assert defaults["gic.maintenance_irq"] == MAINTENANCE


def test_the_schemas_own_example_is_right() -> None:
    for example in SCHEMAS["vm"]["examples"]:
        VM.validate(example)
        assert vmcfg.check(json_text(example)) == []


@pytest.mark.parametrize("name, field", every_field().items(), ids=every_field())
def test_every_kind_has_a_schema_and_words(name: str, field: Field) -> None:
    for what, made in (("schema", of_kind(field.kind, name)), ("words", kind_words(field.kind))):
        assert made, f"the kind of '{name}' has no {what}(): write it in description/kinds.py"


# Schema and decoder agree -------------------------------------------------------------------------


def has_shape(text: str, document: Json) -> bool:
    """Return whether the decoder accepts `text`: no VMC1xx finding, and no number out of bounds."""
    found = vmcfg.check(text)
    if any(each.rule.startswith("VMC1") for each in found):
        return False
    return not exceeds_bounds(document)


def exceeds_bounds(document: Json) -> bool:
    """Return whether a number is outside the bounds of its key, which other rules report."""
    return any(error.validator in ("minimum", "maximum") for error in VM.iter_errors(document))


def assert_agreement(document: Json) -> None:
    accepted = VM.is_valid(document)
    is_outside = exceeds_bounds(document)
    for compact in (True, False):
        written = json_text(document, compact)
        every = vmcfg.check(written)
        found = [each for each in every if each.rule.startswith("VMC1")]
        assert not is_outside or every, "a number is out of bounds, and no rule finds it"
        assert accepted == (not found and not is_outside), [
            error.message[:200] for error in VM.iter_errors(document)
        ] + [f"{each.rule} {each.message[:200]}" for each in found]


class NotJson(Exception):
    """A document that JSON cannot express, or that YAML readers read differently."""


class _AsJson(yaml.SafeLoader):
    """YAML as JSON data. Raises `NotJson` for anything that JSON cannot express, or that YAML 1.1
    and 1.2 read differently.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise NotJson("a tag")
        if (
            isinstance(event, yaml.AliasEvent)
            and isinstance(parent, yaml.MappingNode)
            and index is None
        ):
            raise NotJson("an alias as a key")
        return super().compose_node(parent, index)


def _mapping(loader: _AsJson, node: yaml.MappingNode) -> Json:
    keys = [key.value if isinstance(key, yaml.ScalarNode) else None for key, _ in node.value]
    if None in keys or len(set(keys)) < len(keys) or "<<" in keys:
        raise NotJson("a key")
    return {
        key: loader.construct_object(value, deep=True)
        for key, (_, value) in zip(keys, node.value, strict=True)
    }


def _sequence(loader: _AsJson, node: yaml.SequenceNode) -> Json:
    return [loader.construct_object(each, deep=True) for each in node.value]


def _integer(loader: _AsJson, node: yaml.ScalarNode) -> int:
    if re.fullmatch(r"-?(?:0|[1-9][0-9]{0,4000})", node.value):
        return int(node.value)
    if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", node.value):
        return int(node.value, 16)
    raise NotJson(node.value)


def _null(loader: _AsJson, node: yaml.ScalarNode) -> None:
    return None


def _boolean(loader: _AsJson, node: yaml.ScalarNode) -> bool:
    if node.value.lower() in ("true", "false"):
        return bool(node.value.lower() == "true")
    raise NotJson(node.value)


def _text(loader: _AsJson, node: yaml.ScalarNode) -> str:
    # Only YAML 1.2 reads this as a number.
    if not node.style and re.fullmatch(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+", node.value
    ):
        raise NotJson(node.value)
    return str(node.value)


def _other(loader: _AsJson, node: yaml.Node) -> None:
    raise NotJson(node.tag)


_AsJson.yaml_constructors = {
    "tag:yaml.org,2002:map": _mapping,
    "tag:yaml.org,2002:seq": _sequence,
    "tag:yaml.org,2002:int": _integer,
    "tag:yaml.org,2002:null": _null,
    "tag:yaml.org,2002:bool": _boolean,
    "tag:yaml.org,2002:str": _text,
    None: _other,
}


def json_data(path: Path) -> Json:
    """Return the JSON data in a YAML file. Raises `NotJson` if it contains anything else."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _AsJson)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None


def said_by_json() -> Iterator[tuple[Path, Json]]:
    """Yield the samples and cases that are JSON data, each with its data."""
    for path in (*SAMPLES, *CASES):
        # Only the decoder checks bounds of a whole document, as the comment of the schema explains.
        if path.stem.startswith("VMC107"):
            continue
        with contextlib.suppress(NotJson):
            yield path, json_data(path)


JSON_DATA = [pytest.param(path, document, id=path.stem) for path, document in said_by_json()]


@pytest.mark.parametrize(("path", "document"), JSON_DATA)
def test_schema_and_decoder_agree_on_files(path: Path, document: Json) -> None:
    assert VM.is_valid(document) == has_shape(path.read_bytes().decode("utf-8-sig"), document)
    assert_agreement(document)


def test_files_that_are_no_json_data_are_those_that_only_text_can_say() -> None:
    data = {parameter.id for parameter in JSON_DATA}
    assert {path.stem for path in SAMPLES} <= data
    told_by_text = re.compile(
        "VMC1(0[0-8]|20|22)|VMC123-flag|VMC121-(5000-digits|65-bits)|.*-(octal|sexagesimal)"
    )
    assert [
        path.stem for path in CASES if path.stem not in data and not told_by_text.match(path.stem)
    ] == []
    assert len(data & {path.stem for path in CASES}) >= len(CASES) / 2


@generated(150)
@given(descriptions())
def test_right_descriptions_have_no_finding(document: Json) -> None:
    assert vmcfg.check(json_text(document)) == []
    assert VM.is_valid(document)


@pytest.mark.slow
@generated(700)
@given(near_misses())
def test_schema_and_decoder_agree_on_one_value_at_a_time(document: Json) -> None:
    assert_agreement(document)


@generated(100)
@given(shapes())
def test_schema_and_decoder_agree_on_what_the_model_allows(document: Json) -> None:
    assert_agreement(document)


@pytest.mark.slow
@generated(400)
@given(mutants(descriptions(most_vcpus=4)))
def test_schema_and_decoder_agree_on_changed_descriptions(document: Json) -> None:
    assert_agreement(document)


@pytest.mark.slow
@generated(100)
@given(mutants(shapes()))
def test_schema_and_decoder_agree_on_changed_shapes(document: Json) -> None:
    assert_agreement(document)


EDGES: dict[str, list[Json]] = {
    "vmcfg": [
        1,
        0,
        2,
        "1",
        "0x1",
        "0x0000000000000001",
        "0x00000000000000001",
        "01",
        "1\n",
        True,
        None,
        "",
        "one",
    ],
    "name": [
        "a",
        "a" * 63,
        "a" * 64,
        "a\n",
        "",
        "-a",
        "a b",
        "é",
        1,
        "no",
        "1",
        None,
        False,
        "\U0001f40b",
    ],
    "vcpus": [
        1,
        0,
        512,
        513,
        (1 << 31) - 1,
        1 << 31,
        "4",
        "0",
        "0x4",
        "04",
        "99999",
        -1,
        [],
        {},
        [[]],
        [{}],
        None,
    ],
    "host_kernel": [
        "6.1",
        "6.10",
        "06.1",
        "6.1.2",
        "6",
        6,
        "6.1\n",
        "99999.99999",
        "100000.1",
        None,
    ],
    "ipa_bits": [31, 32, 52, 53, "31", "53", "0x28", "40 ", 10**4000, -(10**4000), True],
    "gic": [
        {},
        {"version": 3},
        {"version": "3"},
        {"version": "0x3"},
        {"version": 5},
        {"version": 3, "distributor": (1 << 64) - 1},
        {"version": 3, "distributor": 1 << 64},
        {"version": 3, "distributor": 10**19},
        {"version": 3, "distributor": str((1 << 64) - 1)},
        {"version": 3, "distributor": "9999999999999999999"},
        {"version": 3, "distributor": "0xffffffffffffffff"},
        {"version": 3, "distributor": "0x0ffffffffffffffff"},
        {"version": 3, "redistributors": []},
        {"version": 3, "redistributors": "0x080a0000"},
        {"version": 3, "redistributors": {"base": 0}},
        {"version": 3, "nr_irqs": 65},
        {"version": 3, "nr_irqs": 63},
        {"version": 3, "set_up_by": "Plan"},
    ],
    "memory": [
        [],
        [{"base": 0, "size": (1 << 64) - 1}],
        [{"base": 0, "size": 1 << 64}],
        [{"base": 0, "size": "9999999999TiB"}],
        [{"base": 0, "size": "01GiB"}],
        [{"base": 0, "size": "1GiB\n"}],
        [{"base": 0, "size": 0}],
        [{"base": -1, "size": "1GiB"}],
        [{"size": "1GiB"}],
    ],
    "pmu": [
        {},
        {"irq": 23},
        {"irq": (1 << 31) - 1},
        {"irq": 1 << 31},
        {"irq": "4294967296"},
        {"irq": "spi:8-11"},
        {"irq": "0x17-0x18"},
        {"irq": "spi:9999999999999999999"},
        {"irq": "spi:18446744073709551615"},
        {"irq": "ppi:7\n"},
        {"irq": ":7"},
        {"irq": "-7"},
        {"irq": -7},
        {"irq": None},
    ],
    "smccc_filter": [
        [{"action": "deny", "base": base, "count": 1}]
        for base in (
            (1 << 32) - 1,
            1 << 32,
            "PSCI_0_2_FN64_CPU_ON",
            "psci_0_2_fn64_cpu_on",
            "XPSCI_0_2_FN64_CPU_ON",
            "PSCI_0_2_FN64_CPU_ON\n",
            "CPU_ON",
            "c4000003",
        )
    ],
    "timers": [{}, {"virtual": "ppi:11"}, {"virtual": "27-28"}, {"physical": ""}, [], None],
    "x-mine": [None, {"a": [1]}, {"<<": {}}],
    "xmine": [1],
    "X-mine": [1],
    "$schema": ["urn:vmcfg:schema:vm:1", None, {}],
    "<<": [{}],
}
"""Values at both sides of each boundary of what a key accepts."""


@pytest.mark.parametrize("key", EDGES)
def test_schema_and_decoder_agree_at_the_edges(key: str) -> None:
    for value in EDGES[key]:
        assert_agreement({"vmcfg": 1, "name": "vm", "vcpus": 1, key: value})


@pytest.mark.parametrize(
    "document", [{}, [], None, 1, "vmcfg", True, {"vmcfg": 1}, [{"vmcfg": 1}]], ids=repr
)
def test_schema_and_decoder_agree_on_what_is_no_description(document: Json) -> None:
    assert_agreement(document)


def test_bounds_of_the_document_as_a_whole_are_the_decoders_alone() -> None:
    nested: Json = []
    for _ in range(64):
        nested = [nested]
    document = {"vmcfg": 1, "name": "vm", "vcpus": 1, "x-nested": nested}
    assert VM.is_valid(document)
    assert [found.rule for found in vmcfg.check(json_text(document))] == ["VMC107"]
    assert "VMC107" in SCHEMAS["vm"]["$comment"]


# Output of vmcfg ----------------------------------------------------------------------------------


def refusals(schema: Draft202012Validator, value: Json) -> list[str]:
    return [
        f"{error.json_path}: {error.message[:200]} "
        f"{[each.message[:100] for each in error.context or ()]}"
        for error in schema.iter_errors(value)
    ]


def sent(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the plans of a file despite findings, with every scope: as JSON Lines and as JSON."""
    checked = check(path.read_bytes(), path.name)
    if checked.machine is not None:
        for scope in SETTING_UP:
            plan = lower(checked.machine, scope, unchecked=bool(checked.diagnostics))
            yield jsonl(plan, checked.tree), json_object(plan, checked.tree)


@pytest.mark.slow
@pytest.mark.parametrize("path", TEXTS)
def test_plans_keep_to_their_schema(path: Path) -> None:
    has_machine = check(path.read_bytes(), path.name).machine is not None
    plans = list(sent(path))
    assert len(plans) == (len(SETTING_UP) if has_machine else 0)
    for lines, whole in plans:
        header, *commands, end = map(json.loads, lines.splitlines())
        # For the schema, hundreds of commands of one kind are alike: some are enough.
        kinds = {(line["op"], line["attr"], line["type"]): line for line in commands}
        for line in (header, *kinds.values(), *commands[:8], *commands[-8:], end):
            assert refusals(PLAN, line) == []
        plan = json.loads(whole)
        assert plan["commands"] == commands
        assert {"op": "plan", **plan} == {**header, "commands": commands}
        assert refusals(PLAN, {**plan, "commands": list(kinds.values())}) == []
        assert end == {"op": "end", "count": len(commands)}


@pytest.mark.slow
@generated(30)
@given(descriptions(most_vcpus=3))
def test_plans_of_any_right_description_keep_to_their_schema(document: Json) -> None:
    checked = check(json_text(document).encode(), "vm.yaml")
    assert checked.machine is not None
    for scope in SETTING_UP:
        lines = jsonl(lower(checked.machine, scope), checked.tree)
        for line in lines.splitlines():
            assert refusals(PLAN, json.loads(line)) == []


@pytest.mark.parametrize(
    "args", [["--scope", "vm"], ["--phase", "late"], ["--unchecked", "--scope", "vm"]], ids=repr
)
@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_what_the_command_emits_keeps_to_the_schema(format_: str, args: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "vmcfg",
        "emit",
        "--format",
        format_,
        *args,
        str(ROOT / SAMPLES[0]),
    ]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    values = (
        [json.loads(printed)]
        if format_ == "json"
        else [json.loads(line) for line in printed.splitlines()]
    )
    assert [refusals(PLAN, value) for value in values] == [[]] * len(values)


@pytest.mark.parametrize(
    "folders", [["tests/cases"], ["sample-configs"], ["tests/cases", "sample-configs"]], ids=repr
)
def test_findings_keep_to_their_schema(folders: list[str]) -> None:
    printed = run_vmcfg(["validate", "--format", "json", *folders], cwd=ROOT)
    assert printed.stderr == b""
    report = json.loads(printed.stdout)
    assert refusals(DIAGNOSTICS, report) == []
    assert len(report["diagnostics"]) == report["errors"] + report["warnings"]
    assert (report["diagnostics"] != []) == ("tests/cases" in folders)


def test_schemas_list_what_the_tables_have() -> None:
    definitions = SCHEMAS["plan"]["$defs"]
    keys = definitions["command"]["properties"]
    assert set(keys["op"]["enum"]) == {operation.word for operation in OPERATIONS}
    assert tuple(definitions["header"]["properties"]["api"]["enum"]) == APIS
    assert [each["$ref"].rpartition("/")[2] for each in definitions["command"]["oneOf"]] == keys[
        "op"
    ]["enum"]
    assert set(keys["type"]["enum"]) == {row.value.word for row in SEQUENCE}
    assert tuple(keys["phase"]["enum"]) == PHASES
    assert keys["row"]["enum"] == [row.name for row in SEQUENCE]
    assert tuple(definitions["header"]["properties"]["scope"]["enum"]) == SCOPES
    finding = SCHEMAS["diagnostics"]["$defs"]
    assert set(finding["answer"]["properties"]["phase"]["enum"]) == {*get_args(Phase), None}
    assert finding["diagnostic"]["properties"]["related"]["maxItems"] == RELATED_SHOWN


def test_schemas_name_rows_as_the_table_does() -> None:
    keys = SCHEMAS["plan"]["$defs"]["command"]["properties"]
    for row in SEQUENCE:
        if row.attr is not None:
            assert re.search(keys["group"]["pattern"], row.attr.group)
            assert re.search(keys["attr"]["pattern"], row.attr.name)


def objects(value: Json) -> Iterator[dict[str, Json]]:
    """Yield every object in a JSON value, including the value itself."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from objects(inner)


def assert_strict(schema: Draft202012Validator, value: Json) -> None:
    """Assert that the schema accepts `value`, but not with a key less or more at any depth."""
    assert refusals(schema, value) == []
    for each in list(objects(value)):
        each["else"] = 1
        assert refusals(schema, value), f"the schema accepts 'else' in {each}"
        del each["else"]
        for key in list(each):
            if key != "unchecked":
                held = each.pop(key)
                assert refusals(schema, value), f"{key} is not missed in {each}"
                each[key] = held
    assert refusals(schema, value) == []


UNCHECKED = """
vmcfg: 1
name: vm
memory: [{base: 0x40000000, size: 1GiB}]
gic: {version: 3, distributor: 0x08000000, redistributors: [{base: 0x080a0000}]}
vcpus: [{mpidr: 0.0.0.1, pmu_irq: 23}, {mpidr: 0.0.200.1, pmu_irq: 24}]
pmu: {device: armv8_pmuv3, filter: [{action: deny, events: 0x11}]}
smccc_filter: [{action: deny, base: 0x84000005, count: 1}]
features: [sve]
capabilities: [{name: KVM_CAP_HALT_POLL, args: [200000]}]
"""
"""An invalid description whose plan contains every op."""


def test_plan_schema_is_strict() -> None:
    checked = check(UNCHECKED.encode(), "vm.yaml")
    assert checked.machine is not None
    lines = jsonl(lower(checked.machine, "vm", unchecked=True), checked.tree).splitlines()
    commands = {
        (line["op"], line["type"]): line for line in map(json.loads, lines) if "type" in line
    }
    assert {op for op, _ in commands} == {row.operation.word for row in SEQUENCE}
    for line in (*commands.values(), json.loads(lines[0]), json.loads(lines[-1])):
        assert_strict(PLAN, line)
    header = {key: value for key, value in json.loads(lines[0]).items() if key != "op"}
    assert_strict(PLAN, {**header, "commands": [commands["set-attr", "s32"]]})


@pytest.mark.parametrize(
    ("op", "changes"),
    [
        (("set-attr", "s32"), {"data": None}),
        (("set-attr", "s32"), {"value": "pmu:armv8_pmuv3"}),
        (("set-attr", "s32"), {"data": "170"}),
        (("set-attr", "s32"), {"value": 23}),
        (("set-attr", "s32"), {"value": "2 3"}),
        (("set-attr", "s32"), {"phase": "configured"}),
        (("set-attr", "s32"), {"row": "vcpu.create"}),
        (("set-attr", "s32"), {"target": "cpu:1"}),
        (("set-attr", "s32"), {"seq": 0}),
        (("set-attr", "s32"), {"attr_id": 0}),
        (("set-attr", "none"), {"data": "00"}),
        (("set-attr", "none"), {"value": "0"}),
        (("set-reg", "u64"), {"data": "01c8"}),
        (("create-vm", "u64"), {"origin": {"pointer": "", "line": 1, "column": 1}}),
        (("create-vcpu", "u64"), {"arg": "0x01"}),
        (("create-device", "u32"), {"device_id": 6}),
        (("add-memory", "memory"), {"op": "create-vm"}),
    ],
    ids=repr,
)
def test_plan_schema_refuses(op: tuple[str, str], changes: dict[str, Json]) -> None:
    checked = check(UNCHECKED.encode(), "vm.yaml")
    assert checked.machine is not None
    lines = map(
        json.loads, jsonl(lower(checked.machine, "vm", unchecked=True), checked.tree).splitlines()
    )
    line = next(line for line in reversed(list(lines)) if (line["op"], line.get("type")) == op)
    assert refusals(PLAN, line) == []
    assert refusals(PLAN, {**line, **changes}) != []


def diagnostics() -> Json:
    report = {
        "format": "vmcfg.diagnostics",
        "format_version": "1.0",
        "files": 1,
        "errors": 2,
        "warnings": 0,
    }
    found = [
        each.as_json()
        for each in vmcfg.check(UNCHECKED.replace("name: vm", "name: vm\nhost_kernel: '6.12'"))
    ]
    return {**report, "diagnostics": found}


def test_diagnostics_schema_is_strict() -> None:
    report = diagnostics()
    assert report["diagnostics"][0]["related"]
    assert report["diagnostics"][0]["kernel"]
    assert_strict(DIAGNOSTICS, report)


@pytest.mark.parametrize(
    "changes",
    [
        {"severity": "info"},
        {"line": 0},
        {"message": "two\nlines"},
        {"message": "line\n"},
        {"hint": ""},
        {"pointer": "vcpus"},
        {"pointer": "/~2"},
        {"rule": "VMC1000"},
        {"kernel": {"call": "KVM_RUN", "errno": None, "phase": "run"}},
        {"kernel": {"call": "KVM_RUN", "errno": "EINVAL", "phase": None}},
        {"related": [{"message": "no place"}]},
    ],
    ids=repr,
)
def test_diagnostics_schema_refuses(changes: dict[str, Json]) -> None:
    report = diagnostics()
    report["diagnostics"][0] |= changes
    assert refusals(DIAGNOSTICS, report) != []


# The schemas of other outputs ---------------------------------------------------------------------


def matches(name: str, text: str) -> Json:
    """Return the JSON in `text`, which must match a schema."""
    report: Json = json.loads(text)
    wrong = [error.message for error in Draft202012Validator(SCHEMAS[name]).iter_errors(report)]
    assert not wrong
    return report


def test_every_schema_is_printed_and_every_json_format_has_one() -> None:
    files = {path.name.removesuffix("-v1.schema.json") for path in (ROOT / "schemas").iterdir()}
    assert files == set(schema_command.SCHEMAS)
    with_json = {
        command.name
        for name in COMMANDS
        if (command := vmcfg_group.get_command(Context(vmcfg_group), name)) is not None
        for option in command.params
        if "json" in getattr(option.type, "choices", ())
    }
    described = " ".join(schema_command.SCHEMAS.values())
    assert [name for name in with_json if f"'{name} --format json'" not in described] == []


@pytest.mark.parametrize("value", ["0", "23", "0x100", "0x80000100", "1.2.3.4", "ppi:7", "spi:8"])
def test_decode_matches_its_schema(value: str) -> None:
    number, found = decode._read(value)
    matches("decode", decode._json(number, found))


@pytest.mark.parametrize(
    "attr", [("gic", 3, 0), ("vcpu", 0, 0, "EBUSY"), ("gic", 5, 1 << 40), ("vm", 7, 0)], ids=str
)
def test_a_decoded_attribute_matches_the_schema(attr: tuple[str, int, int]) -> None:
    matches("decode", decode._report("attribute", numbers_json(Numbers(*attr))))


def test_host_files_match_their_schema() -> None:
    for path in (ROOT / "tests" / "hosts").glob("*.json"):
        matches("host", path.read_text())


def test_try_lists_every_command() -> None:
    checked = check((ROOT / "sample-configs" / "minimal.yaml").read_bytes(), "minimal.yaml")
    assert checked.machine is not None
    commands = lower(checked.machine, "vm").commands
    task = task_of(commands, True, None, lambda command: Position(WHOLE, ""))
    steps = tuple(
        Step(call, (None, "EINVAL", NOT_REACHED)[place % 3], ("23",) if place % 3 == 0 else ())
        for place, call in enumerate(task.calls)
    )
    difference = Difference(0, "vcpu:0", "23", "24")
    outcome = Outcome("7.2.0", steps, (), (difference,), (Run("vcpu:0", None),))
    tried = Tried("vm", "6.1", {}, outcome, [], [], True)
    report = matches("try", report_json(tried, unchecked=True))
    assert [each["seq"] for each in report["commands"]] == [*range(1, len(commands) + 1)]
    assert [each["errno"] for each in report["commands"][:3]] == [None, "EINVAL", "not reached"]
    assert [each["read"] for each in report["commands"][:2]] == [["23"], []]
    matches("try", report_json(Tried("vm", "6.1", {}, None, [], [], True), unchecked=False))
