"""Learns a grid of methods, data sets and seeds, and writes them as one table.

Runs that are there already are not repeated, and those that were cut go on. The table comes as
Markdown, CSV and LaTeX, with mean and standard deviation over seeds and the paper's numbers.
"""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf import grid
from dgm_tf.errors import InputError
from trainers import command, flags

PROGRAM = "python -m trainers.table1"
QUICK = ("--epochs=20",)


def define() -> absl_flags.FlagValues:
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
    text = "learn what is missing before the table is written (default: on)"
    flags.define_boolean(values, "learn", True, text)
    text = (
        "every method on the bundled digits with a third of the epochs, into RESULTS/quick; "
        "minutes on two cores"
    )
    flags.define_boolean(values, "quick", False, text)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return command.guarded(lambda: _table(arguments))
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what is missing", file=sys.stderr)
        return command.INTERRUPTED


def _table(arguments: Sequence[str]) -> None:
    values = define()
    if flags.asks_for_help(arguments):
        usage = f"{PROGRAM} [--flag=value ...]"
        raise flags.HelpAsked(
            flags.help_text(values, {"Flags": values}, about=__doc__, usage=usage)
        )
    if left_over := flags.read(values, arguments, program=PROGRAM):
        raise InputError(f"expected flags as --name=value, received {left_over[0]!r}")
    try:
        seeds = [int(seed) for seed in values.seeds.split(",")]
    except ValueError as error:
        raise InputError(
            f"expected --seeds as whole numbers such as 0,1,2, received {values.seeds}"
        ) from error
    datasets, root, extra = values.datasets.split(","), values.results, ()
    if values.quick:
        datasets, root, extra = ["digits"], f"{values.results}/quick", QUICK
    planned = grid.plan(datasets, values.methods.split(","), seeds, root, extra)
    failed = grid.run_missing(planned, say=_say) if values.learn else []
    for path in grid.write_tables(root, values.out or root):
        _say(str(path))
    if failed:
        raise InputError(f"{len(failed)} runs failed; the same command tries them again")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
