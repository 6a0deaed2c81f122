"""The one error that tells a user what to change."""


class InputError(ValueError):
    """What the user gave cannot be used.

    `str(error)` is one line: what was wanted, what was received and what to do. The command-line
    trainers print that line and exit; they show a traceback for every other kind of error.
    """
