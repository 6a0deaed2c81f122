"""Some of many: what is checked or shown of a memory stays bounded as it grows."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

AUDITED = 20  # tasks that an audit generates again from one checkpoint, unless all are asked for

Item = TypeVar("Item")


def some_of(items: Sequence[Item], at_most: int, *, seed: int) -> list[Item]:
    """Items in their order: all of a few; of more the first, the last and others at random.

    Args:
        items: at least none.
        at_most: how many, 2 or more.
        seed: the same one chooses the same places; from 0.
    """
    if len(items) <= at_most:
        return list(items)
    # NumPy froze the stream of its legacy generator: a seed's choice stays for ever.
    inner = np.random.RandomState(seed).permutation(len(items) - 2)[: at_most - 2] + 1
    return [items[place] for place in (0, *sorted(inner.tolist()), len(items) - 1)]
