"""Sizes of images, and of the networks for them. Nothing here needs TensorFlow.

Each stage of a generator doubles an image's side, each stage of a critic halves it. Both have as
many stages as leave a few pixels a side at their narrow end.
"""

MULTIPLE = 4  # of a side: the least generator, of a block and an output layer, doubles it twice
SMALLEST = 16
LARGEST_DEFAULT = 128  # larger images are shrunk to it unless a size is asked for


def default_side(height: int, width: int) -> int:
    """The side S that images of a given size are learnt at: the smaller one, rounded up."""
    rounded = -(-min(height, width) // MULTIPLE) * MULTIPLE
    return min(max(rounded, SMALLEST), LARGEST_DEFAULT)


def doublings(side: int) -> int:
    """The number of stages by which a generator comes to a side of S pixels, from 4 to 7 or so.

    Args:
        side: S, a multiple of 4.
    """
    stages = 2 if side % 8 else 3
    while (side >> stages) >= 8 and not (side >> stages) % 2:
        stages += 1
    return stages


def widths(size: int, stages: int) -> tuple[int, ...]:
    """The units of a generator's stages: twice as many in each as in the next, `size` in the last.

    Args:
        size: g.
        stages: their number.
    """
    return tuple(size << stage for stage in reversed(range(stages)))


def halvings(side: int) -> int:
    """The number of stride-2 convolutions by which critic and classifier see a side of S pixels."""
    return 3 + (side >= 64) + (side >= 128)
