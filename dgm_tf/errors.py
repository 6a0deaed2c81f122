"""The one error that tells a user what to change."""


class InputError(ValueError):
    """What the user gave cannot be used.

    `str(error)` is one line: what was wanted, what was received and what to do. The command-line
    trainers print that line and exit; they show a traceback for every other kind of error. What
    it quotes (a file's name, another library's words) cannot break the line.
    """

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(str(text).splitlines()))
