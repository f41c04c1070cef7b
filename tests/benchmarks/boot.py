"""A bare boot, with which `vmcfg try --image` is compared: the same machine and kernel, and an
/init that only powers off.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from vmcfg.trial.compiled import COMPILERS, FLAGS
from vmcfg.trial.emulated import QEMU, Emulated
from vmcfg.trial.initrd import initrd
from vmcfg.trial.kernel_image import kernel_image

INIT = """\
/* Powers off: reboot(). */
__asm__(".globl _start\\n_start:\\n\\tldr x0, =0xfee1dead\\n\\tldr x1, =672274793\\n"
	"\\tldr x2, =0x4321fedc\\n\\tmov x8, #142\\n\\tsvc 0\\n");
"""


def bare_boot(kernel: Path, folder: Path) -> list[str]:
    """Return the command of the boot. Its files are written to `folder`."""
    source, program, archive = folder / "init.c", folder / "init", folder / "initrd"
    source.write_text(INIT)
    subprocess.run([COMPILERS[0], *FLAGS, "-o", str(program), str(source)], check=True)
    archive.write_bytes(initrd(program.read_bytes(), ""))
    image = folder / "Image"
    image.write_bytes(kernel_image(str(kernel)).content)
    return [shutil.which(QEMU) or QEMU, *Emulated().arguments(image, archive)]
