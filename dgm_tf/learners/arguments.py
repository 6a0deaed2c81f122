"""The settings once more, as keyword arguments that an editor and a type checker show.

A class here names those of the settings class of the same name in `dgm_tf.methods.settings`, which
has their meaning and default values; a test keeps the two in step.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypedDict

from dgm_tf.methods.settings import LearnerSettings, MethodSettings
from dgm_tf.networks.own_classifier import MakeClassifier


class MethodArguments(TypedDict, total=False):
    """Settings of every method."""

    batch_size: int
    seed: int


class NearestMeanArguments(MethodArguments, total=False):
    """Settings of the nearest class mean."""


class _OwnParts(TypedDict, total=False):
    """What is no setting: a function, which cannot be saved."""

    classifier: MakeClassifier


class LearnerArguments(MethodArguments, _OwnParts, total=False):
    """Settings of a method with a classifier of the critic's shape."""

    epochs: int
    steps: int
    critic_size: int
    consolidation_steps: int
    consolidation_start: Literal["new", "previous"]
    augmentation: Literal["none", "photo", "mirror"]
    recipe: str
    jit_compile: bool


class JointArguments(LearnerArguments, total=False):
    """Settings of joint training."""


class ExperienceReplayArguments(JointArguments, total=False):
    """Settings of experience replay."""

    buffer_bytes: int


class _ReplayArguments(TypedDict, total=False):
    latent_dim: int
    generator_size: int
    learning_rate: float
    critic_learning_rate: float
    penalty_weight: float
    class_weight: float
    replay_buffer: int


class DGMArguments(MethodArguments, _OwnParts, _ReplayArguments, total=False):
    """Settings of Dynamic Generative Memory."""

    variant: Literal["w", "a"]
    generator_widths: tuple[int, ...]
    epochs: int
    steps: int
    critic_size: int
    s_max: float
    sparsity: float
    sparsity_follows_size: bool
    replay: Literal["balanced", "full"]
    replay_batch: int
    consolidation_steps: int
    consolidation_start: Literal["critic", "new", "previous"]
    penalty_fraction: float
    consolidation_batch: int
    real_margins: float
    augmentation: Literal["none", "photo", "mirror"]
    recipe: str
    jit_compile: bool


class GANArguments(LearnerArguments, _ReplayArguments, total=False):
    """Settings of the conditional GAN that the other methods share."""

    critic_steps: int


class EWCArguments(GANArguments, total=False):
    """Settings of elastic weight consolidation."""

    ewc_strength: float
    fisher_samples: int


class DGRArguments(GANArguments, total=False):
    """Settings of deep generative replay."""

    new_fraction: float


class MeRGANArguments(GANArguments, total=False):
    """Settings of memory replay GANs with joint training on replayed images."""

    replay_batch: int


class AlignedArguments(MeRGANArguments, total=False):
    """Settings of memory replay GANs with replay alignment."""

    alignment: float


def given(changes: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that are given; None stands for the preset's."""
    return {name: value for name, value in changes.items() if value is not None}


def signature(function: Callable[..., Any], kind: type[MethodSettings]) -> inspect.Signature:
    """Returns a constructor's signature with each setting in place of `**changes`."""
    _, *own = inspect.signature(function).parameters.values()
    fixed = [each for each in own if each.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(fixed) == len(own):
        return inspect.Signature(own)
    if issubclass(kind, LearnerSettings) and "classifier" not in {each.name for each in fixed}:
        fixed.append(
            inspect.Parameter(
                "classifier",
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation="MakeClassifier",
            )
        )
    names = {each.name for each in fixed}
    settings = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=f"{getattr(field.type, '__name__', field.type)} | None",
        )
        for field in dataclasses.fields(kind)
        if field.name not in names
    ]
    return inspect.Signature([*fixed, *settings])
