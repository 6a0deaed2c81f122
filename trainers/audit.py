"""Checks that a memory or another run, finished or not, has kept every bit of what it learnt.

It generates the images of finished tasks again from the checkpoints and compares them with the
audit's records. It also checks gated weights, masks, free capacity and the log. The exit code is 1
if anything is wrong.
"""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.errors import InputError
from dgm_tf.evaluation.sampling import AUDITED
from dgm_tf.experiments.options import MEMORY, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str | None = option(f"{MEMORY}; the same as RUN", default=None, shown="DIR")
    every_checkpoint: bool = option(
        "check every record in every checkpoint; by default every record in the newest checkpoint, "
        f"and some of the others if there are more than {AUDITED}",
        default=False,
    )


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=pets", "--memory=pets --every_checkpoint", "runs/*/*/seed0")
    return Flags("audit", __doc__, examples=examples, others="RUN").add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        given = define().parse(arguments)
        wanted = given.of(Options)
        if not (runs := (*([wanted.memory] if wanted.memory else []), *given.others)):
            raise InputError("expected one RUN or more, folders that trainers have written")
        from dgm_tf.experiments import run_audit

        for run in runs:
            try:
                found = run_audit.audit_run(run, every_checkpoint=wanted.every_checkpoint)
            except InputError as error:  # The others are audited, and a fault of theirs says more.
                print(f"error: {error}", file=sys.stderr, flush=True)
                outcome.code = outcome.code or command.BAD_INPUT
                continue
            print(found, flush=True)
            if found.faults:
                outcome.code = command.WRONG
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
