"""Classifies image files: prints a line for each, with its class and probability.

The memory may come from trainers.learn or any trainer, or be an exported model with a classifier. A
file that cannot be read gets an error line, and the exit code is 2.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import MEMORY, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str = option(f"{MEMORY}, or exported model", shown="DIR")
    top: int = option("classes to print for each file, the most probable first", default=1)
    json: bool = option("print a JSON object for each file", default=False)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=pets photo.jpg", "--memory=pets --top=3 --json photos/*.jpg")
    return Flags("classify", __doc__, examples=examples, others="FILE").add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        given = define().parse(arguments)
        wanted = given.of(Options)
        top = _checks.integer(wanted.top, "--top", low=1)
        if not given.others:
            raise InputError("expected one FILE or more, pictures to classify")
        from dgm_tf.experiments import memory_use

        model = memory_use.opened(wanted.memory)
        for answer in memory_use.classified(model, given.others, top=top):
            if answer.error:
                outcome.code = command.BAD_INPUT
            if wanted.json:
                command.say(_as_json(answer))
            elif answer.error:
                print(f"error: {answer.error}", file=sys.stderr, flush=True)
            else:
                command.say(_as_line(answer))
    return outcome.code


def _as_json(answer: "memory_use.Answer") -> str:  # noqa: F821
    if answer.error:
        return json.dumps({"path": answer.path, "error": answer.error})
    best = [{"class": name, "probability": round(value, 6)} for name, value in answer.best]
    return json.dumps({"path": answer.path, **best[0], "top": best}, ensure_ascii=False)


def _as_line(answer: "memory_use.Answer") -> str:  # noqa: F821
    path = answer.path if _checks.is_line(answer.path) else ascii(answer.path)
    return "\t".join([path, *(f"{name}\t{value:.4f}" for name, value in answer.best)])


if __name__ == "__main__":
    sys.exit(main())
