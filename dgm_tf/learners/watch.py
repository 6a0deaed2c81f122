"""Notices at the end of an epoch that training has gone wrong, and says so in one line."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from dgm_tf.data.task import Task
from dgm_tf.errors import Diverged
from dgm_tf.learners.phase import spread

# In some 330 tasks of MNIST, SVHN and digits by DGM no mean of an epoch went beyond 26; training
# that explodes passes any bound within a few steps. Exploding gradients show here, too: the penalty
# is the square of the critic's.
_EXPLODED = 1e5

# New networks begin with images that are nearly alike and one answer to everything; what they do in
# this fraction of a phase's epochs says nothing.
_NEW = 0.2

# Spread of a generator's images over a batch, mean over pixels, on a scale from -1 to 1. Below a
# quarter of one of 256 levels no two of its images differ to the eye. The real ones may not differ
# either, such as those of a class "empty": then it has done its work.
_COLLAPSED = 1 / 512
_OF_REAL = 0.1
_MEASURED = 256  # real images

# Fraction of the old classes' replayed images that the critic takes for the newest ones.
_NEWEST_ONLY = 0.98


class NumbersWatch(keras.callbacks.Callback):
    """Raises `Diverged` at the end of an epoch whose numbers are no longer any good.

    Args:
        task: the one that is learnt.
    """

    # Keras then need not wait for each step's losses before it begins the next one.
    async_safe = True

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._task = task

    @functools.cached_property
    def _real_spread(self) -> float:
        count = min(_MEASURED, self._task.train_size)
        images, _ = next(iter(self._task.batches(count, epochs=1, seed=0)))
        return float(spread(images))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Looks at the means of one epoch.

        Raises:
            Diverged: one is no finite number, or has exploded, or the generator's images are all
                alike, or the critic calls everything the newest class.
        """
        logs = {name: float(value) for name, value in (logs or {}).items()}
        epochs = (self.params or {}).get("epochs") or 1
        past = epoch / epochs
        if trouble := found_wrong(logs, past=past, real_spread=lambda: self._real_spread):
            phase = getattr(self.model, "phase", "") or "training"
            raise Diverged(trouble, f"epoch {epoch + 1} of {phase}")


def found_wrong(logs: Mapping[str, float], *, past: float, real_spread: Callable[[], float]) -> str:
    """Returns a few words on what is wrong with the means of an epoch; "" if nothing is.

    Args:
        logs: means by name. `sample_spread` and `old_as_newest` are what
            `dgm_tf.learners.adversarial` logs.
        past: fraction of the phase's epochs before this one, 0 to 1.
        real_spread: returns `sample_spread` of real images; it is only called in doubt.
    """
    for name, value in logs.items():
        if not math.isfinite(value):
            return f"{name} is no finite number ({value})"
        if abs(value) > _EXPLODED:
            return f"{name} has exploded to {value:.3g}"
    if past < _NEW:
        return ""
    generated = logs.get("sample_spread", 1.0)
    if generated < _COLLAPSED and generated < _OF_REAL * (real := real_spread()):
        return (
            f"the generator has collapsed: its images differ by {generated:.2g}, and real ones by "
            f"{real:.2g}"
        )
    wrong = logs.get("old_as_newest", 0.0)
    if wrong > _NEWEST_ONLY:
        return f"the critic calls {100 * wrong:.0f} % of old classes' images the newest class"
    return ""
