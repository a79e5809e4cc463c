"""`python -m holdfast.jobs MODULE FOLDER`: the keeper of one job, detached from whoever started it."""

from __future__ import annotations

import sys

from holdfast.jobs.keeper import keep

if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2]))
