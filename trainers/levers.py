"""Learns small runs with one setting changed at a time, and says what each change brought."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf import stopping
from dgm_tf.errors import InputError
from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    text = "levers, by the names of their result folders; all unless given"
    flags.define_text(values, "levers", None, text, shown="NAME,NAME,...")
    text = "data sets, digits and fashion_mnist"
    flags.define_text(values, "datasets", "digits,fashion_mnist", text, shown="NAME,NAME,...")
    flags.define_text(values, "seeds", "0,1,2", "seeds", shown="N,N,...")
    flags.define_text(values, "results", "results/levers", "folder of the runs", shown="DIR")
    text = (
        "Markdown file in which the tables stand between marks and are written anew, with figures "
        "of accuracy against size in levers/ beside it; they are printed unless given"
    )
    flags.define_text(values, "out", None, text, shown="FILE")
    flags.define_jobs(values)
    text = "learn what is missing first (default: on)"
    flags.define_boolean(values, "learn", True, text)
    return flags.CommandFlags(values, {"Flags": tuple(values)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("levers", define(), _study, __doc__, arguments, stopping.GOES_ON)


def _study(
    *,
    levers: str | None,
    datasets: str,
    seeds: str,
    results: str,
    out: str | None,
    jobs: int,
    learn: bool,
) -> None:
    with command.hushed():
        from dgm_tf.experiments import grid
        from dgm_tf.experiments import levers as study
    names = list(study.LEVERS) if levers is None else levers.split(",")
    planned = study.plan(names, datasets.split(","), grid.seeds(seeds), results)
    failed = grid.run_missing(planned, say=command.say, jobs=jobs) if learn else []
    if out is None:
        command.say(study.markdown(results))
    else:
        for path in study.write_tables(results, out):
            command.say(str(path))
    if failed:
        raise InputError(f"{len(failed)} runs failed; the same command tries them again")


if __name__ == "__main__":
    sys.exit(main())
