"""Learns a grid of methods, data sets and seeds, and writes one table.

Finished runs are not repeated, and stopped ones resume. The table is printed and written as
Markdown, CSV and LaTeX, with mean and standard deviation over seeds, next to the paper's numbers.
Behind -- stand flags for all trainers, such as --images=DIR for the data set folder; a method gets
the settings that it has.
"""

import dataclasses
import importlib
import sys
from collections.abc import Sequence

from dgm_tf.errors import InputError
from dgm_tf.experiments import grid
from dgm_tf.experiments.options import RunOptions, SettingsOptions, StreamOptions, option
from dgm_tf.terminal import stopping
from trainers import command, train
from trainers.flags import Flags

QUICK = ("--epochs=25", "--consolidation_steps=100")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    datasets: tuple[str, ...] = option(
        f"data sets: some of {', '.join(grid.TRAINERS)}", default=("mnist",)
    )
    methods: tuple[str, ...] = option(
        "methods, with DGM's two variants", default=tuple(grid.METHODS)
    )
    seeds: tuple[int, ...] = option("seeds; each is a run", default=(0,))
    results: str = option("folder of the runs", default="runs", shown="DIR")
    out: str | None = option(
        "folder of the tables; by default the folder of the runs", default=None, shown="DIR"
    )
    jobs: int | None = option(
        "runs at the same time, each on its part of the cores, which changes their last bits; by "
        "default 1, or 2 with --quick on two cores or more",
        default=None,
    )
    learn: bool = option("learn missing runs before the table is written", default=True)
    quick: bool = option(
        "every method on the bundled digits with fewer epochs, in the folder quick of the results; "
        "a quarter of an hour on two cores",
        default=False,
    )


def define() -> Flags:
    """The flags of this command."""
    examples = (
        "--quick",
        "--methods=dgm-w,ewc --seeds=0,1,2",
        "--datasets=folder --methods=dgm-w,mergan_ra -- --images=photos",
    )
    return Flags("table1", __doc__, examples=examples, others="-- FLAG").add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome(stopping.RESUMES) as outcome:
        given = define().parse(arguments)
        wanted = given.of(Options)
        datasets, root, extra, jobs = wanted.datasets, wanted.results, given.others, wanted.jobs
        if wanted.quick:
            if "datasets" in given.values:
                raise InputError("--quick learns the digits: leave out --datasets, or --quick")
            datasets, root, extra = ("digits",), f"{root}/quick", (*QUICK, *extra)
        if jobs is None:
            jobs = grid.most_jobs(2) if wanted.quick else 1
        planned = grid.plan(datasets, wanted.methods, wanted.seeds, root, extra)
        _check(planned)
        failed = grid.run_missing(planned, say=command.say, jobs=jobs) if wanted.learn else []
        if not failed or any(run.is_finished() for run in planned):
            for line in grid.write_tables(planned, wanted.out or root):
                command.say(line)
        if failed:
            raise InputError(f"{len(failed)} runs failed; the same command tries them again")
    return outcome.code


def _check(planned: Sequence[grid.Planned]) -> None:
    """Refuses what a trainer would refuse, before any work starts."""
    for run in planned:
        trainer = importlib.import_module(f"trainers.{grid.TRAINERS[run.dataset]}")
        given = trainer.define().parse(run.arguments)
        stream, chosen = given.of(StreamOptions, dataset=run.dataset), given.of(SettingsOptions)
        settings = chosen.resolve(run.dataset, given.among(*train.SETTINGS))
        given.of(RunOptions).check_method(chosen.method)
        run.check(stream, settings)


if __name__ == "__main__":
    sys.exit(main())
