"""Proves that a run, finished or not, has kept its memory, or says what is wrong with it.

From each checkpoint the images of all tasks so far are generated again and compared with the
audit's records. Gated weights, masks, free capacity and the log are checked from checkpoint to
checkpoint. The exit code is 1 if anything is wrong.
"""

import sys
from collections.abc import Sequence

from dgm_tf.errors import InputError
from trainers import command
from trainers.flags import Flags


def define() -> Flags:
    """The flags of this command, which has only arguments."""
    return Flags("audit", __doc__, examples=("runs/mine", "runs/*/*/seed0"), others="RUN")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        runs = define().parse(arguments).others
        if not runs:
            raise InputError("expected one RUN or more, folders that trainers have written")
        with command.hushed():
            from dgm_tf.experiments import run_audit
        for run in runs:
            found = run_audit.audit_run(run)
            print(found, flush=True)
            if found.faults:
                outcome.code = command.WRONG
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
