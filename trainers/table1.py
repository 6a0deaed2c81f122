"""Learns a grid of methods, data sets and seeds, and writes them as one table.

Runs that are there already are not repeated, and those that were cut go on. The table comes as
Markdown, CSV and LaTeX, with mean and standard deviation over seeds and the paper's numbers.
"""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf import stopping
from dgm_tf.errors import InputError
from dgm_tf.experiments import grid
from trainers import command, flags

QUICK = ("--epochs=25", "--consolidation_steps=100")


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    text = f"data sets, of {', '.join(grid.TRAINERS)}"
    flags.define_text(values, "datasets", "mnist", text, shown="NAME,NAME,...")
    text = "methods, by the names of their result folders"
    flags.define_text(values, "methods", ",".join(grid.METHODS), text, shown="NAME,NAME,...")
    flags.define_text(values, "seeds", "0", "seeds", shown="N,N,...")
    flags.define_text(values, "results", "results", "folder of the runs", shown="DIR")
    text = "folder of the tables, that of the runs unless given"
    flags.define_text(values, "out", None, text, shown="DIR")
    unless_given = "; 1 unless given, 2 with --quick where there are two cores"
    flags.define_jobs(values, default=None, unless_given=unless_given)
    text = "learn what is missing before the table is written (default: on)"
    flags.define_boolean(values, "learn", True, text)
    text = (
        "every method on the bundled digits with fewer epochs, into RESULTS/quick; a quarter of an "
        "hour on two cores"
    )
    flags.define_boolean(values, "quick", False, text)
    return flags.CommandFlags(values, {"Flags": tuple(values)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("table1", define(), _table, __doc__, arguments, stopping.GOES_ON)


def _table(
    *,
    datasets: str,
    methods: str,
    seeds: str,
    results: str,
    out: str | None,
    jobs: int | None,
    learn: bool,
    quick: bool,
) -> None:
    chosen, root, extra = datasets.split(","), results, ()
    if quick:
        chosen, root, extra = ["digits"], f"{results}/quick", QUICK
    if jobs is None:
        jobs = grid.most_jobs(2) if quick else 1
    planned = grid.plan(chosen, methods.split(","), grid.seeds(seeds), root, extra)
    failed = grid.run_missing(planned, say=command.say, jobs=jobs) if learn else []
    for path in grid.write_tables(root, out or root):
        command.say(str(path))
    if failed:
        raise InputError(f"{len(failed)} runs failed; the same command tries them again")


if __name__ == "__main__":
    sys.exit(main())
