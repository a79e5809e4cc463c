"""Whether what lies on disk is encrypted below the files: engines write theirs as they are."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.prove.check import Measured
from holdfast.prove.stage import Stage

BLOCK_DEVICES = Path("/sys/dev/block")
CRYPT = "CRYPT-"
"""What a device mapper's uuid begins with where dm-crypt (LUKS, plain) made it."""


async def at_rest(stage: Stage) -> Measured:
    """The block device below the state folder, and whether dm-crypt is in it or below it."""
    if stage.state is None:
        return {"device": "", "encrypted": None}
    number = stage.state.path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    return {"device": device, "encrypted": encrypted(BLOCK_DEVICES / device)}


def encrypted(device: Path) -> bool | None:
    """Whether all that the device writes goes through dm-crypt; None where the file system has no such device.

    Args: `device`, its folder in sysfs, with the devices that it is made of in `slaves`.
    """
    if not device.exists():
        return None
    try:
        if (device / "dm" / "uuid").read_text().startswith(CRYPT):
            return True
    except OSError:
        pass  # no device mapper made it
    below = sorted((device / "slaves").glob("*"))
    return bool(below) and all(encrypted(each) for each in below)
