"""Dynamic Generative Memory: class-incremental learning with a masked, growing GAN.

The names below are the public ones. They are imported when they are first used, so that a command
line can be checked before TensorFlow is loaded.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "DGM": "dgm_tf.learners.dgm",
    "DGMSettings": "dgm_tf.settings",
    "HyperDGM": "dgm_tf.tuning.hypermodel",
    "ImageData": "dgm_tf.datasets",
    "InputError": "dgm_tf.errors",
    "MaskedConv2D": "dgm_tf.layers",
    "MaskedConv2DTranspose": "dgm_tf.layers",
    "MaskedDense": "dgm_tf.layers",
    "Task": "dgm_tf.stream",
    "TaskBatchNormalization": "dgm_tf.layers",
    "TaskClosed": "dgm_tf.stream",
    "TaskProgress": "dgm_tf.experiments.progress",
    "TaskStream": "dgm_tf.stream",
    "class_incremental": "dgm_tf.stream",
    "distributed": "dgm_tf.distribution",
    "from_arrays": "dgm_tf.datasets",
    "from_folder": "dgm_tf.image_folder",
    "load": "dgm_tf.datasets",
    "load_generator": "dgm_tf.serving.loading",
    "settings_for": "dgm_tf.presets",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dgm_tf' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
