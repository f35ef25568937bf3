"""The `zuora-jobs` command. Progress goes to stderr, results to stdout; bad input is a sentence and exit 2."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; it needs the extra `cli`."""
    try:
        from zuora_jobs.cli.app import run  # noqa: PLC0415 - the extra may be missing
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich", "simplejson"}:
            raise
        sys.exit("zuora-jobs: the command line is an extra: pip install 'zuora_jobs[cli]'")
    sys.exit(run())
