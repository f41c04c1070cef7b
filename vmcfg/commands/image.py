"""The options of commands that boot a kernel image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmcfg.commands.options import with_options

if TYPE_CHECKING:
    from vmcfg.trial.boot import Guest


image_options = with_options(
    click.option(
        "--image",
        metavar="KERNEL",
        help=(
            "Boot this arm64 kernel image under QEMU, or arch/arm64/boot/Image of this kernel"
            " tree, and use its KVM instead of that of this host."
        ),
    ),
    click.option(
        "--machine",
        metavar="SETTING[,...]",
        help="With --image: settings of the machine of QEMU, such as gic-version=2.",
    ),
    click.option("--cpu", metavar="CPU", help="With --image: the CPU of QEMU. [default: max]"),
    click.option(
        "--append", metavar="PARAMETERS", help="With --image: more parameters of the kernel."
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="With --image: end QEMU after this time. [default: 300]",
    ),
    click.option(
        "--console",
        metavar="FILE",
        help="With --image: write the console of the guest to FILE.",
    ),
)
"""--image, and the options of its machine."""


def guest_of(
    image: str | None,
    machine: str | None,
    cpu: str | None,
    append: str | None,
    timeout: float | None,
    console: str | None,
) -> Guest | None:
    """Return what the options ask for; None without --image. Raises `NoKvm` if the image is none,
    and a usage error for an option without --image.
    """
    options: dict[str, Any] = {"machine": machine, "cpu": cpu, "append": append}
    options |= {"timeout": timeout, "console": console}
    given = {name: value for name, value in options.items() if value is not None}
    if image is None:
        if given:
            raise click.UsageError(f"--{next(iter(given))} requires --image.")
        return None
    from vmcfg.trial.boot import Guest
    from vmcfg.trial.emulated import Emulated
    from vmcfg.trial.kernel_image import kernel_image

    of_machine = {name: given.pop(name) for name in Emulated._fields if name in given}
    return Guest(kernel_image(image), Emulated(**of_machine))._replace(**given)
