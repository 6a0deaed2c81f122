"""Every number of Dynamic Generative Memory in one place, and the presets per data set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError

METHODS = ("dgm", "joint")
VARIANTS = ("w", "a")
REPLAY_MODES = ("balanced", "full")
RATE_DECAYS = ("none", "cosine")
CRITIC_NORMS = ("none", "batch")


def _setting(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    metadata = {"help": text} | ({"choices": choices} if choices else {})
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class DGMSettings:
    """How one DGM learner is built and trained.

    The defaults suit handwritten digits on two CPU cores. `settings_for` gives the presets,
    among them the paper's own.
    """

    variant: str = _setting(
        "w", "what the masks lie on: w (weights, DGMw) or a (units, DGMa)", VARIANTS
    )
    epochs: int = _setting(16, "passes over a task's images (I in Eq. 3)")
    batch_size: int = _setting(64, "real images in a training step")
    s_max: float = _setting(1e4, "steepest mask: s grows to this value (Eq. 2 and 3)")
    sparsity: float = _setting(0.08, "weight lambda of the sparsity term (Eq. 5)")
    sparsity_follows_size: bool = _setting(
        True, "scale lambda by present size / initial size, so that its pull per weight stays"
    )
    latent_dim: int = _setting(128, "length of the generator's input vector, label included")
    generator_size: int = _setting(20, "g: the generator starts with 4g, 2g and g units")
    critic_size: int = _setting(32, "d: the critic has d, 2d and 4d channels")
    critic_norm: str = _setting(
        "none", "normalisation in the critic: none, or batch (the paper)", CRITIC_NORMS
    )
    learning_rate: float = _setting(2e-3, "Adam's rate for the generator")
    critic_learning_rate: float = _setting(2e-3, "Adam's rate for the critic")
    rate_decay: str = _setting(
        "cosine",
        "both rates over a task's adversarial steps: none (constant, the paper) or cosine (to 0)",
        RATE_DECAYS,
    )
    penalty_weight: float = _setting(1.0, "weight of the gradient penalty")
    class_weight: float = _setting(
        1.0, "weight of the classification term on generated images in the generator's loss"
    )
    replay: str = _setting(
        "balanced",
        "balanced (a fixed number of replayed images per step) or full (one batch per old class)",
        REPLAY_MODES,
    )
    replay_batch: int = _setting(64, "replayed images per step in balanced mode")
    replay_buffer: int = _setting(2048, "images held by the replay buffer in balanced mode")
    consolidation_steps: int = _setting(
        600,
        "steps that train the critic as a classifier on generated images of all classes "
        "once a task's generator is finished; 0 leaves them out (the paper)",
    )
    consolidation_batch: int = _setting(128, "generated images in a consolidation step")
    consolidation_learning_rate: float = _setting(1e-3, "Adam's first rate in consolidation")
    consolidation_real_weight: float = _setting(
        0.0, "weight of a task's real images in consolidation"
    )
    steps_per_execution: int = _setting(
        1, "training steps per call of the graph at most; a divisor of an epoch's steps is taken"
    )
    seed: int = _setting(0, "where all randomness of the run comes from")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise InputError(f"{field.name} must be {' or '.join(choices)}, not {value!r}")
            low = _LOWEST.get(field.name, 0)
            if field.type is int:
                _checks.integer(value, field.name, low=low)
            elif field.type is float:
                _checks.number(value, field.name, low=low)
            elif not isinstance(value, field.type):
                wanted = "true or false" if field.type is bool else "a text"
                raise InputError(f"{field.name} must be {wanted}, not {value!r}")


_LOWEST = {
    "epochs": 1,
    "batch_size": 1,
    "s_max": 1,
    "latent_dim": 2,
    "generator_size": 1,
    "critic_size": 1,
    "replay_batch": 0,
    "replay_buffer": 1,
    "consolidation_batch": 1,
    "steps_per_execution": 1,
}

PRESETS = ("cpu", "paper")

# The reference experiments; SVHN's variant a is not among them and takes the settings of MNIST's.
_PAPER: Mapping[str, Any] = {
    "batch_size": 64,
    "latent_dim": 128,
    "critic_size": 32,
    "critic_norm": "batch",
    "rate_decay": "none",
    "penalty_weight": 1.0,
    "replay": "full",
    "consolidation_steps": 0,
}
_PAPER_BY_VARIANT: Mapping[str, Mapping[str, Any]] = {
    "w": {"generator_size": 6, "s_max": 1e4, "sparsity": 0.08},
    "a": {"generator_size": 20, "s_max": 1e5, "sparsity": 0.01},
}
_PAPER_SVHN: Mapping[str, Any] = {
    "epochs": 151,
    "learning_rate": 5e-4,
    "critic_learning_rate": 5e-4,
}

# What suits two CPU cores: smaller batches at a higher rate reach better images in the same time,
# and a critic of half the channels is three times as fast.
_CPU: Mapping[str, Any] = {
    "batch_size": 32,
    "learning_rate": 6e-3,
    "critic_learning_rate": 6e-3,
    "critic_size": 16,
    "generator_size": 20,
    "replay_batch": 32,
}
_CPU_BY_VARIANT: Mapping[str, Mapping[str, Any]] = {
    "w": {"s_max": 1e4, "sparsity": 0.08},
    "a": {"s_max": 1e5, "sparsity": 0.01},
}
_CPU_BY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "digits": {"epochs": 60, "consolidation_steps": 200},
    "mnist": {"epochs": 12},
    "fashion_mnist": {"epochs": 12},
    # Photographs, few of each class: a stiffer critic and a lower rate draw digits
    # where the others draw stains.
    "svhn_cropped": {
        "epochs": 90,
        "learning_rate": 2.5e-3,
        "critic_learning_rate": 2.5e-3,
        "penalty_weight": 10.0,
    },
    "cifar10": {"epochs": 8},
}


def settings_for(
    dataset: str, variant: str = "w", preset: str = "cpu", **overrides: Any
) -> DGMSettings:
    """The settings of a preset for one data set.

    Args:
        dataset: its name; one that has no settings of its own takes the general ones.
        variant: `"w"` or `"a"`.
        preset: `"cpu"` (two cores, minutes to an hour) or `"paper"` (the reference experiments).
        **overrides: fields of `DGMSettings`.

    Raises:
        InputError: an unknown variant or preset, or a value out of range.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant must be w (weights) or a (units), not {variant!r}")
    if preset not in PRESETS:
        raise InputError(f"preset must be {' or '.join(PRESETS)}, not {preset!r}")
    if preset == "paper":
        chosen = {"epochs": 101, "learning_rate": 2e-3, "critic_learning_rate": 2e-3, **_PAPER}
        chosen |= _PAPER_BY_VARIANT[variant]
        if dataset == "svhn_cropped":
            chosen |= _PAPER_SVHN
            if variant == "w":
                chosen["sparsity"] = 0.001
    else:
        chosen = {**_CPU, **_CPU_BY_VARIANT[variant], **_CPU_BY_DATASET.get(dataset, {})}
    return DGMSettings(**{"variant": variant, **chosen, **overrides})
