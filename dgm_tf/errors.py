"""The errors that tell a user what to change."""


class InputError(ValueError):
    """An input that cannot be used.

    `str(error)` is one line: what was wanted, what was received and what to do. The command-line
    trainers print that line and exit; they show a traceback for every other kind of error. What
    it quotes (a file's name, another library's words) cannot break the line.

    Example:
        ```python
        try:
            dgm_tf.load_data("digit")
        except dgm_tf.InputError as error:
            print(error)
        ```
    """

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(str(text).splitlines()))


class Diverged(InputError):
    """Training went wrong: a loss is no finite number, an image generator collapsed, or the like.

    A learner is as it was before the task, and a run's folder has the last good state.

    Attributes:
        what: what went wrong.
        where: the epoch and the phase; the same however early in the epoch it was noticed.

    Example:
        ```python
        model = dgm_tf.DGM.from_preset("digits", epochs=1, critic_learning_rate=1e20)
        try:
            model.learn(next(dgm_tf.class_incremental("digits").tasks()))
        except dgm_tf.Diverged as error:
            print(error.what, error.where)
        ```
    """

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")
        self.what, self.where = what, where


class PeerLost(InputError):
    """Another process of a run on several has ended or cannot be reached."""


class MemoryChanged(RuntimeError):
    """What a finished task has reserved is no longer what it was: a fault of the program."""
