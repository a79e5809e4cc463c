"""`python -m holdfast.migrate FOLDER`: works on the migration whose job folder that is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.migrate.worker import work


def main() -> int:
    """0 when the migration has come to an end, 1 when it is to be taken up again."""
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(work(Path(sys.argv[1])))
    except HoldfastError as failed:
        logging.getLogger("holdfast.migrate").error("%s", failed)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
