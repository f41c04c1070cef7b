"""`emit --numbers`: a C program reads every line with the formats that the schema documents."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Vmcfg

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "sample-configs").glob("*.yaml"))
HOST = str(ROOT / "tests/hosts/has-everything.json")

READER = """\
#include <stdio.h>
#include <string.h>

/* Reads a format and a line by turns; prints whether the format matches the whole line. */
int main(void)
{
	static char format[256], line[65536], text[256];
	unsigned int number[2] = { 0, 0 };
	unsigned long long wide = 0;

	while (fgets(format, sizeof(format), stdin) && fgets(line, sizeof(line), stdin)) {
		void *into[6];
		int stored = 0, end = -1, wanted = 0, numbers = 0, texts = 0;
		char *percent;

		for (percent = strchr(format, '%'); percent; percent = strchr(percent + 1, '%')) {
			if (percent[1] == 'u')
				into[wanted++] = &number[numbers++];
			else if (percent[1] == 'l')
				into[wanted++] = &wide;
			else
				into[wanted++] = &text[128 * (texts++)];
		}
		strcpy(strchr(format, '\\n'), "%n");
		into[wanted] = &end;
		stored = sscanf(line, format, into[0], into[1], into[2], into[3], into[4], into[5]);
		puts(stored == wanted && end >= 0 && line[end] == '\\n' ? "read" : "not read");
	}
	return 0;
}
"""


@pytest.fixture
def reader(program: Callable[[str], str], tmp_path: Path) -> Path:
    """Return a program that reads lines with sscanf()."""
    source = tmp_path / "reader.c"
    # `text` has room for two texts of 128 characters, and for the end of the last one.
    source.write_text(READER.replace("text[256]", "text[260]"))
    subprocess.run([program("gcc"), "-w", "-o", str(tmp_path / "reader"), str(source)], check=True)
    return tmp_path / "reader"


def formats() -> dict[str, str]:
    """Return the format of each operation in the schema of plans."""
    definitions = json.loads((ROOT / "schemas/plan-v1.schema.json").read_text())["$defs"]
    return {
        name: found[1]
        for name, each in definitions.items()
        if (found := re.search("sscanf.* with '(.*?)'", each.get("description", "")))
    }


@pytest.mark.parametrize("options", [("--scope", "vm"), ("--get",)], ids=["vm", "get"])
def test_one_sscanf_reads_every_line(
    options: tuple[str, ...], reader: Path, vmcfg_here: Vmcfg
) -> None:
    by_word = formats()
    pairs = []
    for sample in SAMPLES:
        given = [str(sample), "--host", HOST, "--unchecked", *options]
        _, output, _ = vmcfg_here("emit", "--numbers", *given)
        for line in output.splitlines():
            assert len(line.split(" ")) == 6
            pairs.append((by_word[line.split(" ")[0]], line))
    words = {line.split(" ")[0] for _, line in pairs}
    assert len(words) == (2 if "--get" in options else 9)
    given_text = "".join(f"{each}\n{line}\n" for each, line in pairs)
    read = subprocess.run(
        [str(reader)], input=given_text, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wrong = [pair for pair, told in zip(pairs, read, strict=True) if told != "read"]
    assert not wrong


def test_numbers_are_the_arguments_of_the_ioctls(vmcfg_here: Vmcfg) -> None:
    given = ["--scope", "vm", "--host", HOST, str(ROOT / "sample-configs/full.yaml")]
    _, numbers, _ = vmcfg_here("emit", "--numbers", *given)
    _, lines, _ = vmcfg_here("emit", "--format", "jsonl", *given)
    commands = [json.loads(line) for line in lines.splitlines()[1:-1]]
    for line, command in zip(numbers.splitlines(), commands, strict=True):
        word, target, group, attr, length, data = line.split(" ")
        assert (word, target) == (command["op"], command["target"])
        assert int(length) == len(data.replace("-", "")) // 2
        number = int(attr, 16)
        if word in ("create-vm", "create-vcpu", "finalize-vcpu"):
            assert attr == command["arg"]
        elif word == "create-device":
            assert number == command["device_id"]
        elif word == "init-vcpu":
            assert [attr] == command["feature_words"]
        elif word == "enable-cap":
            assert number == command["cap_id"]
            args = b"".join(int(each, 16).to_bytes(8, "little") for each in command["args"])
            assert data == (args.hex() or "-")
        elif word == "add-memory":
            words = bytes.fromhex(data)
            assert int.from_bytes(words[:4], "little") == command["slot"]
            assert int.from_bytes(words[8:16], "little") == int(command["base"], 16)
            assert int.from_bytes(words[16:], "little") == int(command["size"], 16)
        else:
            assert attr == command.get("attr_id", command.get("reg_id"))
            assert group == str(command.get("group_id", 0))
            assert data == command.get("data", "-")
