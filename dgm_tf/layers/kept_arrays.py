"""Arrays of finished tasks in a `.keras` file, which otherwise holds variables only."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dgm_tf.errors import InputError


class KeptArrays:
    """Part of a Keras layer or model that holds an array for each finished task.

    Attributes:
        kept: name of the attribute that holds them, a tuple.
        finished: a sequence with an entry for each finished task.
    """

    kept: ClassVar[str]
    finished: Sequence[Any]

    def save_own_variables(self, store: Any) -> None:
        """Adds the arrays to what the file holds."""
        super().save_own_variables(store)  # type: ignore[misc]
        for name, array in zip(self._names(), getattr(self, self.kept), strict=True):
            store[name] = array

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote."""
        names = self._names()
        setattr(self, self.kept, tuple(np.array(store[name]) for name in names))
        variables = {name: store[name] for name in set(store.keys()) - set(names)}
        super().load_own_variables(variables)  # type: ignore[misc]

    def _check_built(self) -> None:
        if not self.built:
            raise InputError("the layer has no weights yet: call it or build it first")

    def _check_finished(self, task: int) -> None:
        count = len(self.finished)
        if not (isinstance(task, int | np.integer) and 1 <= task <= count):
            raise InputError(
                f"task must be one of the {count} finished tasks, counted from 1, not {task!r}"
            )

    def _names(self) -> list[str]:
        return [f"{self.kept}_{task}" for task, _ in enumerate(getattr(self, self.kept), start=1)]
