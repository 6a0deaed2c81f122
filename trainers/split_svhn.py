"""Learns the ten digits of SVHN's house numbers with DGM, class after class."""

import sys
from collections.abc import Sequence

from trainers import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trainer and returns its exit code."""
    return command.run("split_svhn", "svhn_cropped", about=__doc__, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
