"""Settings as keyword arguments, which `help` and an editor show.

`dgm_tf.methods.settings` has their meaning and default values; a test keeps the two in step.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypedDict

from dgm_tf.methods.settings import LearnerSettings, MethodSettings
from dgm_tf.networks.own_classifier import MakeClassifier


class DGMArguments(TypedDict, total=False):
    """Settings of Dynamic Generative Memory, and the function that makes its classifier."""

    variant: Literal["w", "a"]
    epochs: int
    steps: int
    batch_size: int
    generator_size: int
    generator_widths: tuple[int, ...]
    upsampling: Literal["zeros", "nearest"]
    critic_size: int
    latent_dim: int
    learning_rate: float
    critic_learning_rate: float
    penalty_weight: float
    class_weight: float
    s_max: float
    sparsity: float
    replay: Literal["balanced", "full"]
    replay_batch: int
    replay_buffer: int
    consolidation_steps: int
    consolidation_start: Literal["critic", "new", "previous"]
    penalty_fraction: float
    consolidation_batch: int
    real_margins: float
    augmentation: Literal["none", "light", "photo", "mirror", "light+mirror"]
    recipe: str
    seed: int
    jit_compile: bool
    classifier: MakeClassifier


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
