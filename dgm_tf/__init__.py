"""Dynamic Generative Memory: class-incremental learning with a masked, growing GAN.

The names below are the public ones. They are imported when they are first used, so that a command
line can be checked before TensorFlow is loaded.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dgm_tf.devices.backend import choose_tensorflow as _choose_tensorflow
from dgm_tf.terminal import quiet as _quiet

if TYPE_CHECKING:  # the same names again, for editors and type checkers
    from dgm_tf.data.datasets import ImageData as ImageData
    from dgm_tf.data.datasets import from_arrays as from_arrays
    from dgm_tf.data.datasets import load_data as load_data
    from dgm_tf.data.image_folder import from_folder as from_folder
    from dgm_tf.data.stream import TaskStream as TaskStream
    from dgm_tf.data.stream import class_incremental as class_incremental
    from dgm_tf.data.task import Task as Task
    from dgm_tf.data.task import TaskClosed as TaskClosed
    from dgm_tf.devices.distribution import distributed as distributed
    from dgm_tf.errors import Diverged as Diverged
    from dgm_tf.errors import InputError as InputError
    from dgm_tf.layers import MaskedConv2D as MaskedConv2D
    from dgm_tf.layers import MaskedConv2DTranspose as MaskedConv2DTranspose
    from dgm_tf.layers import MaskedDense as MaskedDense
    from dgm_tf.layers import TaskBatchNormalization as TaskBatchNormalization
    from dgm_tf.learners.dgm import DGM as DGM
    from dgm_tf.learners.dgr import DGR as DGR
    from dgm_tf.learners.ewc import EWC as EWC
    from dgm_tf.learners.experience_replay import ExperienceReplay as ExperienceReplay
    from dgm_tf.learners.joint import JointClassifier as JointClassifier
    from dgm_tf.learners.joint import JointGAN as JointGAN
    from dgm_tf.learners.learner import Learner as Learner
    from dgm_tf.learners.mergan import MeRGANJTR as MeRGANJTR
    from dgm_tf.learners.mergan import MeRGANRA as MeRGANRA
    from dgm_tf.learners.nearest_mean import NearestMean as NearestMean
    from dgm_tf.learners.shared_gan import FineTune as FineTune
    from dgm_tf.methods.presets import settings_for as settings_for
    from dgm_tf.methods.registry import Method as Method
    from dgm_tf.methods.registry import register_method as register_method
    from dgm_tf.methods.settings import DGMSettings as DGMSettings
    from dgm_tf.methods.settings import MethodSettings as MethodSettings
    from dgm_tf.methods.settings import setting as setting
    from dgm_tf.runs.saved import load as load
    from dgm_tf.serving.loading import ExportedModel as ExportedModel
    from dgm_tf.serving.loading import load_exported as load_exported
    from dgm_tf.terminal.progress import TaskProgress as TaskProgress
    from dgm_tf.tuning.hypermodel import HyperDGM as HyperDGM

_choose_tensorflow()
_quiet.quieten()

__version__ = "0.2.0"

_HOMES = {
    "DGM": "dgm_tf.learners.dgm",
    "DGMSettings": "dgm_tf.methods.settings",
    "DGR": "dgm_tf.learners.dgr",
    "Diverged": "dgm_tf.errors",
    "EWC": "dgm_tf.learners.ewc",
    "ExperienceReplay": "dgm_tf.learners.experience_replay",
    "ExportedModel": "dgm_tf.serving.loading",
    "FineTune": "dgm_tf.learners.shared_gan",
    "HyperDGM": "dgm_tf.tuning.hypermodel",
    "ImageData": "dgm_tf.data.datasets",
    "InputError": "dgm_tf.errors",
    "JointClassifier": "dgm_tf.learners.joint",
    "JointGAN": "dgm_tf.learners.joint",
    "Learner": "dgm_tf.learners.learner",
    "MaskedConv2D": "dgm_tf.layers",
    "MaskedConv2DTranspose": "dgm_tf.layers",
    "MaskedDense": "dgm_tf.layers",
    "MeRGANJTR": "dgm_tf.learners.mergan",
    "MeRGANRA": "dgm_tf.learners.mergan",
    "Method": "dgm_tf.methods.registry",
    "MethodSettings": "dgm_tf.methods.settings",
    "NearestMean": "dgm_tf.learners.nearest_mean",
    "Task": "dgm_tf.data.task",
    "TaskBatchNormalization": "dgm_tf.layers",
    "TaskClosed": "dgm_tf.data.task",
    "TaskProgress": "dgm_tf.terminal.progress",
    "TaskStream": "dgm_tf.data.stream",
    "class_incremental": "dgm_tf.data.stream",
    "distributed": "dgm_tf.devices.distribution",
    "from_arrays": "dgm_tf.data.datasets",
    "from_folder": "dgm_tf.data.image_folder",
    "load": "dgm_tf.runs.saved",
    "load_data": "dgm_tf.data.datasets",
    "load_exported": "dgm_tf.serving.loading",
    "register_method": "dgm_tf.methods.registry",
    "setting": "dgm_tf.methods.settings",
    "settings_for": "dgm_tf.methods.presets",
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
