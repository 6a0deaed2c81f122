"""Judges the generator of a run: by an oracle, by Inception's features, beside real images."""

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
    text = (
        "weights of Keras' InceptionV3 without its top; the Frechet distance in its features is "
        "measured, too, minutes on two cores"
    )
    flags.define_text(values, "inception", None, text, shown="FILE")
    flags.define_integer(values, "images_per_class", 200, "generated images of each class")
    text = (
        "PNG file for generated images beside the nearest real ones, RUN_DIR/samples/nearest-TT.png"
        " unless given"
    )
    flags.define_text(values, "out", None, text, shown="FILE")
    required = {"run_dir": "the folder of a run"}
    return flags.CommandFlags(values, {"Flags": tuple(values)}, required)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("judge", define(), _judge, __doc__, arguments, "stopped")


def _judge(**wanted) -> None:
    with command.hushed():
        from dgm_tf.experiments import judging
    print(judging.judge_run(**wanted), flush=True)


if __name__ == "__main__":
    sys.exit(main())
