"""Draws images of some classes from an exported model into a PNG file."""

import sys
from collections.abc import Sequence

from trainers import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.sample(about=__doc__, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
