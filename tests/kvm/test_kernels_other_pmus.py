"""Hosts with another PMU than the default of the emulated machine: PMUv3.0 with events of 10 bits,
and no PMU.
"""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from typing import Any

import pytest

from tests.kvm import machine, oracle

BEGINNING = "vmcfg: 1\nname: vm\nvcpus: 2\npmu:\n  irq: 23\n  filter: "
LAST_OF_10_BITS = BEGINNING + "[{action: deny, events: 0x3ff}]\n"
BEYOND_10_BITS = BEGINNING + "[{action: deny, events: 0x400}]\n"


@cache
def tried(series: str, cpu: str) -> dict[str, tuple[int, str, str]]:
    """Return the results of `vmcfg try` on a kernel that runs on `cpu`: exit code, output, and
    errors of each description.
    """
    files = oracle.package() | {
        "/work/filter.yaml": (oracle.ROOT / "sample-configs" / "pmu-filter.yaml").read_bytes(),
        "/work/last.yaml": LAST_OF_10_BITS.encode(),
        "/work/beyond.yaml": BEYOND_10_BITS.encode(),
    }
    script = "".join(
        f"python3 -m vmcfg try --format json {name}.yaml > /tmp/out 2> /tmp/err;"
        ' printf "%s\\n" "$?"; base64 -w 0 /tmp/out; echo; base64 -w 0 /tmp/err; echo\n'
        for name in ("filter", "last", "beyond")
    )
    done = machine.run(oracle.kernel(series), files, ["sh", "-c", script], cpu=cpu)
    lines = done.stdout.decode().split("\n")
    said = zip(("filter", "last", "beyond"), lines[0::3], lines[1::3], lines[2::3], strict=False)
    return {
        name: (int(code), b64decode(out).decode(), b64decode(err).decode())
        for name, code, out, err in said
    }


@pytest.mark.parametrize("series", oracle.FULL)
def test_pmuv3_0_has_events_of_10_bits(series: str) -> None:
    for name in ("filter", "last"):
        code, out, err = tried(series, "cortex-a72")[name]
        assert code == 0, out + err
    code, out, _ = tried(series, "cortex-a72")["beyond"]
    report: dict[str, Any] = json.loads(out)
    (found,) = report["diagnostics"]
    assert code == 1
    assert (found["rule"], found["pointer"]) == ("VMC901", "/pmu/filter/0")
    assert found["kernel"]["errno"] == "EINVAL"
    assert "with PMUv3.0 10" in found["message"]


def test_a_host_without_a_pmu_is_told_in_a_sentence() -> None:
    code, out, err = tried(oracle.FULL[-1], "max,pauth-impdef=on,pmu=off")["filter"]
    assert (code, out) == (3, "")
    assert err.splitlines()[-1] == (
        "vmcfg: this host does not support a PMU for guests (KVM_CAP_ARM_PMU_V3 is 0)"
    )
