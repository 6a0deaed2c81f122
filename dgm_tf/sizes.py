"""Sizes of images, and of the networks for them. Nothing here needs TensorFlow.

Each stage of a generator doubles an image's side, each stage of a critic halves it. Both have as
many stages as leave a few pixels a side at their narrow end.
"""

MULTIPLE = 4  # of a side: the least generator, of a block and an output layer, doubles it twice
SMALLEST = 16
LARGEST_DEFAULT = 128  # larger images are shrunk to it unless a size is asked for


# 4, 5, 6 or 7 times a power of 2: 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128.
_DEFAULTS = (*(m << k for k in (2, 3, 4) for m in (4, 5, 6, 7)), LARGEST_DEFAULT)


def default_side(height: int, width: int) -> int:
    """The side S that images of a given size are learnt at.

    The smaller one, rounded up to one that a generator comes to from 4 to 7 pixels.
    """
    smaller = min(height, width)
    return next((side for side in _DEFAULTS if side >= smaller), LARGEST_DEFAULT)


def doublings(side: int) -> int:
    """The number of stages by which a generator comes to a side of S pixels.

    They begin at 4 to 7 pixels, or where S can be halved no more often; 16 pixels begin at 2.

    Args:
        side: S, a multiple of 4.
    """
    stages = 3 if side == SMALLEST else 2
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
