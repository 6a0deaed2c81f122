"""Coverage-guided fuzzing of one target by atheris (`pip install -r requirements-fuzz.txt`).

    python -m tests.fuzz.fuzz settings -max_total_time=600 new-inputs tests/fuzz/corpus/settings

What follows the target's name goes to libFuzzer, whose first folder receives inputs that reach new
code. An input that ends in anything but an `InputError` is written to a file named `crash-...`.
"""

import logging
import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atheris  # noqa: E402

from tests.fuzz import targets  # noqa: E402

# Instrumented on import: what reads foreign bytes, and what it relies on.
_INSTRUMENTED = ["dgm_tf", "json", "safetensors", "PIL"]


def main() -> None:
    """Fuzzes the target that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in targets.TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.fuzz {'|'.join(targets.TARGETS)} [OPTION...] DIR...")
    name = sys.argv.pop(1)
    warnings.simplefilter("ignore")
    logging.disable()
    with atheris.instrument_imports(include=_INSTRUMENTED):
        targets.feed(name, b"")
    atheris.Setup(sys.argv, lambda content: targets.feed(name, content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
