"""Trains the classifier that judges generated images, on all real images of a data set.

It is kept in ~/.cache/dgm_tf, where every later command finds it.
"""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    flags.define_text(values, "dataset", None, "a data set's name, such as mnist", shown="NAME")
    flags.define_data(values)
    text = "side of the square images, a multiple of 8; 32 (digits: 16) unless given"
    flags.define_integer(values, "image_size", None, text)
    text = "determines which images of a folder are test images; a run's own --seed"
    flags.define_integer(values, "seed", 0, text)
    return flags.CommandFlags(values, {"Flags": tuple(values)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    stopped = "stopped; nothing was kept"
    return command.carried_out("oracle", define(), _train, __doc__, arguments, stopped)


def _train(**wanted) -> None:
    with command.hushed():
        from dgm_tf.experiments import judging
    print(judging.train_oracle(**wanted), flush=True)


if __name__ == "__main__":
    sys.exit(main())
