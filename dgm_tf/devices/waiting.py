"""Waiting for other processes: said after some seconds, with a limit, and open to signals.

Nothing here needs TensorFlow. Waiting is done in Python: in a library's code no signal ends it.
"""

import math
import sys
import time

from dgm_tf.errors import InputError

LIMIT_SECONDS = 1800.0  # People start processes by hand, and queues start them one by one.
_SAID_AFTER_SECONDS = 5.0
_LOOK_SECONDS = 0.25


class Patience:
    """What a process waits for, and since when.

    Args:
        limit: seconds to wait for the same; by default half an hour.
    """

    def __init__(self, limit: float | None = None) -> None:
        self._limit = LIMIT_SECONDS if limit is None else limit
        self.met()

    def met(self) -> None:
        """Nothing is waited for any more."""
        self._since: float | None = None
        self._said = ""

    def wait(self, awaited: str, advice: str) -> None:
        """Waits for a moment; a line on standard error says so, once for each `awaited`.

        Args:
            awaited: who is waited for, with addresses.
            advice: what to do at the limit.

        Raises:
            InputError: the limit is over.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._limit:
            raise InputError(f"waited {_duration(self._limit)} for {awaited}: {advice}")
        if now - self._since >= _SAID_AFTER_SECONDS and awaited != self._said:
            limit = "" if math.isinf(self._limit) else f", for up to {_duration(self._limit)}"
            print(f"waiting for {awaited}{limit}", file=sys.stderr, flush=True)
            self._said = awaited
        time.sleep(_LOOK_SECONDS)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
