"""Photographs of nothing for a memory, and the flags with which it learns them in no time."""

import numpy as np

TINY = [
    "--image_size=16", "--steps=4", "--batch_size=4", "--generator_size=2", "--critic_size=4",
    "--consolidation_steps=4",
]  # fmt: skip


def noise(count, classes):
    """Photographs uint8 [N, 32, 32, 3] of classes that differ in their mean colour."""
    random = np.random.RandomState(1)
    labels = np.repeat(np.arange(classes), count)
    means = random.randint(40, 216, (classes, 1, 1, 3))[labels]
    pixels = means + random.randint(-40, 40, (len(labels), 32, 32, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), labels
