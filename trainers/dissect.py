"""Takes apart what a run's classifier lacks against one that has kept all images."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    flags.define_text(values, "run_dir", None, "folder of the run", shown="DIR")
    text = "the generator as it was after this task, from 1; the last one finished unless given"
    flags.define_integer(values, "task", None, text)
    flags.define_data(values)
    flags.define_integer(values, "steps", 1200, "steps of each classifier")
    text = "generated images of each class, and real ones at most"
    flags.define_integer(values, "images_per_class", 2000, text)
    flags.define_integer(values, "seed", 0, "of the classifiers")
    text = "JSON file for what is found; nothing is written unless given"
    flags.define_text(values, "out", None, text, shown="FILE")
    required = {"run_dir": "the folder of a run"}
    return flags.CommandFlags(values, {"Flags": tuple(values)}, required)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("dissect", define(), _dissect, __doc__, arguments, "stopped")


def _dissect(*, out: str | None, **wanted) -> None:
    with command.hushed():
        from dgm_tf.experiments import dissection
        from dgm_tf.storage.files import write_atomically
    found = dissection.dissect_run(**wanted)
    print(found, flush=True)
    if out is not None:
        write_atomically(out, found.as_json().encode())


if __name__ == "__main__":
    sys.exit(main())
