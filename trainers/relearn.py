"""Learns one task of a run again by other settings and says what they bring there."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from dgm_tf.errors import InputError
from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    flags.define_text(values, "run_dir", None, "folder of the run", shown="DIR")
    flags.define_integer(values, "task", None, "from 2; the last one finished unless given")
    text = "settings that are to be other ones, such as learning_rate=1e-3,replay=full"
    flags.define_text(values, "change", None, text, shown="NAME=VALUE,...")
    flags.define_data(values)
    text = "generated images of each of the task's classes, and real ones at most"
    flags.define_integer(values, "images_per_class", 2000, text)
    text = "JSON file for what is found; nothing is written unless given"
    flags.define_text(values, "out", None, text, shown="FILE")
    required = {"run_dir": "the folder of a run", "change": "NAME=VALUE of a setting"}
    return flags.CommandFlags(values, {"Flags": tuple(values)}, required)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    program = flags.as_typed("python -m trainers.relearn", typed)

    def relearn(**wanted: Any) -> None:
        _relearn(program, **wanted)

    return command.carried_out("relearn", define(), relearn, __doc__, typed, "stopped")


def _relearn(program: str, *, change: str, out: str | None, **wanted: Any) -> None:
    changes = read_changes(change)
    with command.hushed():
        from dgm_tf.experiments import relearning
        from dgm_tf.storage.files import write_atomically
    found = relearning.relearn(changes=changes, command=program, **wanted)
    print(found, flush=True)
    if out is not None:
        write_atomically(out, found.as_json().encode())


def read_changes(text: str) -> Mapping[str, Any]:
    """Settings by name, as a text such as "epochs=3,replay=full,jit_compile=true" has them."""
    found = {}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not (name and equals and value) or name in found:
            raise InputError(
                f"expected --change=NAME=VALUE,NAME=VALUE,... with each name once, received "
                f"{text!r}"
            )
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


if __name__ == "__main__":
    sys.exit(main())
