"""Requests of several clients that are computed together.

MLServer's own batcher merges requests as they come: of other signatures, of types and shapes that
do not fit, and where one client has gone its neighbours get no answer. This one is given requests
that have been checked, and a client that has gone is left out.
"""

import asyncio
from collections.abc import Callable, Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]  # each with one row per image


class Merging:
    """Calls of a function of rows, several at a time.

    Args:
        compute: arrays by name to arrays by name, row by row. It is called in a thread.
        requests: most requests in a call.
        seconds: longest time for which a request waits for others.
    """

    def __init__(self, compute: Callable[[Arrays], Arrays], *, requests: int, seconds: float):
        self._compute = compute
        self._requests, self._seconds = requests, seconds
        self._waiting: list[tuple[Arrays, asyncio.Future]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task] = set()  # the loop itself holds them weakly

    async def __call__(self, inputs: Arrays) -> Arrays:
        """The answer to one request.

        Args:
            inputs: of as many rows each, and of one type and shape by name in all requests.
        """
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append((inputs, answer))
        if len(self._waiting) >= self._requests or self._seconds <= 0:
            self._start()
        elif self._timer is None:
            self._timer = loop.call_later(self._seconds, self._start)
        return await answer

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        together = [each for each in self._waiting if not each[1].done()]
        self._waiting = []
        if together:
            task = asyncio.ensure_future(self._answer(together))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, together: list[tuple[Arrays, asyncio.Future]]) -> None:
        try:
            found = await asyncio.to_thread(self._computed, [inputs for inputs, _ in together])
        except Exception as error:
            if len(together) > 1:  # What is too much for all, of memory, may do for each.
                for each in together:
                    await self._answer([each])
                return
            found = [error]
        for (_, answer), content in zip(together, found, strict=True):
            if answer.done():
                continue
            if isinstance(content, Exception):
                answer.set_exception(content)
            else:
                answer.set_result(content)

    def _computed(self, requests: list[Arrays]) -> list[Arrays]:
        """The answers to requests, computed in one call."""
        names, sizes = requests[0], [len(next(iter(inputs.values()))) for inputs in requests]
        joined = {name: np.concatenate([inputs[name] for inputs in requests]) for name in names}
        ends = np.cumsum(sizes)[:-1]
        parts = {name: np.split(value, ends) for name, value in self._compute(joined).items()}
        return [{name: part[row] for name, part in parts.items()} for row in range(len(requests))]
