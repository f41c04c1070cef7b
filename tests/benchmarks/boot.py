"""The time of try --image, compared with a bare boot of the same kernel: a ratio.

    python tests/benchmarks/boot.py KERNEL

The bare boot has the same machine and an /init that only powers off. Both are measured by turns.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vmcfg.trial.compiled import COMPILERS, FLAGS, performer
from vmcfg.trial.emulated import QEMU, Emulated
from vmcfg.trial.initrd import initrd
from vmcfg.trial.kernel_image import kernel_image

ROOT = Path(__file__).parent.parent.parent
DESCRIPTION = ROOT / "sample-configs/minimal.yaml"
RUNS = 5

INIT = """\
/* Powers off: reboot(). */
__asm__(".globl _start\\n_start:\\n\\tldr x0, =0xfee1dead\\n\\tldr x1, =672274793\\n"
	"\\tldr x2, =0x4321fedc\\n\\tmov x8, #142\\n\\tsvc 0\\n");
"""


def seconds(command: list[str]) -> float:
    """Return the time of a command, which must succeed."""
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.monotonic() - started


def bare_boot(kernel: str, folder: Path) -> list[str]:
    """Return the command of a boot with an /init that powers off."""
    source, program, archive = folder / "init.c", folder / "init", folder / "initrd"
    source.write_text(INIT)
    subprocess.run([COMPILERS[0], *FLAGS, "-o", str(program), str(source)], check=True)
    archive.write_bytes(initrd(program.read_bytes(), ""))
    image = folder / "Image"
    image.write_bytes(kernel_image(kernel).content)
    return [QEMU, *Emulated().arguments(image, archive)]


def main() -> None:
    """Print the medians and their ratio."""
    (kernel,) = sys.argv[1:]
    performer()  # compiled before the first measurement
    tried = [sys.executable, "-m", "vmcfg", "try", "--image", kernel, str(DESCRIPTION)]
    with tempfile.TemporaryDirectory() as folder:
        bare = bare_boot(kernel, Path(folder))
        pairs = [(seconds(tried), seconds(bare)) for _ in range(RUNS)]
    ours, bares = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    print(f"try --image: {ours:.2f} s, bare boot: {bares:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
