"""Proves that a run, finished or not, has kept its memory, or says what is wrong with it.

From each checkpoint the images of all tasks so far are drawn again and compared with the audit's
records; gated weights, masks, free capacity and the log are checked from checkpoint to checkpoint.
The exit code is 1 if anything is wrong.
"""

import sys
from collections.abc import Sequence

from trainers import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.audit(about=__doc__, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
