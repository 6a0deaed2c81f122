"""Searches for settings of DGM: s_max and lambda, and others on request, with KerasTuner.

A trial learns the first tasks of a stream. A search compares trials by validation images of all
classes seen: it looks at them, a run never does. Neither chooses by test images, and a search does
not even read them.
"""

import sys
from collections.abc import Sequence
from typing import Any

from trainers import command, flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    stopped = "stopped; the same command goes on with the trials that are left"
    return command.carried_out("tune", flags.define_tune(), _tune, __doc__, arguments, stopped)


def _tune(*, training: dict[str, Any], plan: dict[str, Any], tuning: dict[str, Any]) -> None:
    with command.hushed():
        from dgm_tf.experiments.experiment import Training
        from dgm_tf.tuning.search import Plan, Tuning, tune
    tune(Tuning(training=Training(**training), plan=Plan(**plan), **tuning))


if __name__ == "__main__":
    sys.exit(main())
