"""Searches for settings of DGM: s_max and lambda, and others on request, with KerasTuner.

A trial learns the first tasks of a stream. A search compares trials by validation images of all
classes seen: it looks at them, a run never does. Neither chooses by test images, and a search does
not even read them.
"""

import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import SettingsOptions, StreamOptions
from dgm_tf.settings import DGMSettings, setting_names
from dgm_tf.tuning.space import Aim, Plan
from trainers import command
from trainers.flags import Flags

_OWN = ("variant", "epochs", "seed")  # settings with a flag here


def define() -> Flags:
    """The flags of this command."""
    examples = ("--dataset=digits", "--dataset=digits --tuner=hyperband --search=s_max,sparsity")
    made = Flags("tune", __doc__, examples=examples)
    made.add("What to learn", StreamOptions, without=["max_tasks"])
    made.add("The search", Plan, Aim)
    made.add("Where it begins", SettingsOptions, without=["method"])
    others = setting_names(DGMSettings) - {*_OWN}
    return made.add("Settings in place of the preset's", DGMSettings, without=others)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    stopped = "stopped; the same command goes on with the trials that are left"
    with command.outcome(stopped) as outcome:
        given = define().parse(arguments)
        data, plan, aim = given.of(StreamOptions), given.of(Plan), given.of(Aim)
        settings = given.of(SettingsOptions).resolve(data.dataset, given.among(DGMSettings))
        with command.hushed():
            from dgm_tf.experiments.run import check_sizes
            from dgm_tf.tuning.hypermodel import HyperDGM
            from dgm_tf.tuning.search import search
        stream = data.open(settings.seed)
        check_sizes(stream, settings, max_tasks=plan.tasks)
        search(stream, HyperDGM(settings, aim), plan, command=given.command)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
