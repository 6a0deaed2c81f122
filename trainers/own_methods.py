"""Methods from outside of the package, for every command and for the processes that it starts."""

import importlib
import os
import sys

from dgm_tf._checks import one_line

VARIABLE = "DGM_METHODS"


def register() -> None:
    """Imports the modules that the variable names, separated by commas.

    Each calls `dgm_tf.register_method` as it is imported. This is done before any flag is defined:
    flags list the methods and their settings. If a module cannot be imported, the process ends with
    a line and exit code 2.
    """
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        try:
            importlib.import_module(name)
        except Exception as error:
            print(
                f"error: {VARIABLE} names {name!a}, which cannot be imported "
                f"({one_line(f'{type(error).__name__}: {error}')}); name modules that register "
                "methods, and put their folder on PYTHONPATH",
                file=sys.stderr,
            )
            raise SystemExit(2) from error
