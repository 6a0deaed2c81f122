"""Exports the memory of a run of DGM, finished or not, as a SavedModel."""

import sys
from collections.abc import Sequence

from trainers import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.export(about=__doc__, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
