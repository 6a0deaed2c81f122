"""The settings of every method; `dgm_tf.methods.presets` has their values for known data sets."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, get_type_hints

from dgm_tf import _checks, sizes
from dgm_tf.errors import InputError

VARIANTS = ("w", "a")
UPSAMPLING = ("zeros", "nearest")
REPLAY_MODES = ("balanced", "full")
CLASSIFIER_STARTS = ("new", "previous")
AUGMENTATIONS = ("none", "light", "photo", "mirror", "light+mirror")
# Of a recipe. Each name is one that `losses`, `networks.Critic` or `learners.phase` knows.
RECIPE_CHOICES = {
    "adversarial_loss": ("wasserstein", "relativistic"),
    "critic_norm": ("none", "batch"),
    "critic_initializer": ("normal", "he"),
    "rate_decay": ("none", "cosine"),
}
DISTRIBUTIONS = ("none", "mirrored", "multiworker")  # no setting: a run may change them


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Constants of training in which the papers' recipes and ours differ.

    Attributes:
        adversarial_loss: "wasserstein", with a penalty between real and generated images, or
            "relativistic", with a penalty at both.
        critic_norm: normalisation in DGM's critic and in every classifier: "none" or "batch".
        critic_initializer: their initial weights: "normal" (standard deviation 0.02) or "he".
        rate_decay: of both networks' rates over a task: "none" or "cosine" (to 0).
        beta_1: first decay of Adam in both networks.
        beta_2: second decay of Adam in both networks.
        annealed_fraction: fraction of a task's epochs in which masks are annealed: I of Eq. 3 is
            that part of the epochs.
        consolidation_learning_rate: Adam's initial rate in consolidation.
        real_weight: weight of real images in the loss of their own classes in consolidation; the
            rest is generated images of the same classes.
        distillation_weight: weight of distillation from the previous classifier in the loss of old
            classes in consolidation; the rest is cross-entropy with labels.
    """

    adversarial_loss: str = "relativistic"
    critic_norm: str = "none"
    critic_initializer: str = "he"
    rate_decay: str = "cosine"
    beta_1: float = 0.5
    beta_2: float = 0.99
    annealed_fraction: float = 0.5
    consolidation_learning_rate: float = 3e-3
    real_weight: float = 0.5
    distillation_weight: float = 0.5

    def __post_init__(self) -> None:
        for name, choices in RECIPE_CHOICES.items():
            _checks.one_of(name, getattr(self, name), choices)


# An ablation registers a recipe of its own here, under a name that its settings then give.
RECIPES: dict[str, Recipe] = {
    "tuned": Recipe(),
    # Ostapenko et al. 2018.
    "paper": Recipe(
        adversarial_loss="wasserstein",
        critic_norm="batch",
        critic_initializer="normal",
        rate_decay="none",
        beta_2=0.999,
        annealed_fraction=1.0,
        consolidation_learning_rate=1e-3,
        real_weight=0.0,
        distillation_weight=0.0,
    ),
}
# Of the conditional GAN that the other methods share; the papers' is that of Wu et al. 2018.
GAN_RECIPES: dict[str, Recipe] = {
    "tuned": Recipe(beta_2=0.999),
    "paper": Recipe(
        adversarial_loss="wasserstein",
        critic_initializer="normal",
        rate_decay="none",
        beta_1=0.0,
        beta_2=0.9,
        consolidation_learning_rate=1e-3,
    ),
}


_KINDS = (int, float, bool, str, tuple[int, ...])
_LARGEST_SEED = 2**63 - 1
_LARGEST = 2**40  # so that a product of two settings is still an int64, in steps and epochs


def setting(
    default: Any,
    text: str,
    *,
    low: float = 0,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    flag: bool = False,
    later: bool = False,
) -> Any:
    """Field of a settings class.

    Args:
        default: value where no preset says otherwise.
        text: help of the setting.
        low: the smallest number allowed.
        high: the largest; None for any.
        choices: the texts allowed; empty for any.
        flag: add a command-line flag; without one, `--settings` reaches the setting.
        later: a memory may change it for the tasks that it has not begun; no network's shape and
            nothing about finished tasks may depend on it.

    Returns:
        The field, for `MethodSettings` and classes on it.

    Example:
        ```python
        import dataclasses

        @dataclasses.dataclass(frozen=True)
        class MySettings(dgm_tf.MethodSettings):
            strength: float = dgm_tf.setting(1.0, "weight of the penalty", high=100, flag=True)

        print(MySettings(strength=2.0))
        ```
    """
    metadata = {"help": text, "low": low, "high": high, "choices": choices}
    metadata |= {"flag": flag, "later": later}
    return dataclasses.field(default=default, metadata=metadata)


def _classifier_start(choices: tuple[str, ...]) -> Any:
    return setting(
        "previous",
        "initial weights of each task's classifier: new (random), previous (warm start from the "
        "previous task's classifier) or critic (the task's critic; DGM only)",
        choices=choices,
        flag=True,
        later=True,
    )


@dataclasses.dataclass(frozen=True)
class MethodSettings:
    """Settings of every method; base class for the settings of your own method.

    Each field's `help` describes it, and the page of settings has them in one table.

    Raises:
        InputError: a value is of the wrong type or out of range.

    Example:
        ```python
        settings = dgm_tf.MethodSettings(batch_size=64, seed=1)
        print(settings.as_json())
        ```
    """

    batch_size: int = setting(32, "real images in a training step", low=1, flag=True)
    seed: int = setting(0, "source of all randomness of the run", flag=True)

    @property
    def least_images(self) -> int:
        """Images of a class that a pass over a task needs: fewer are repeated, or refused."""
        return self.batch_size

    def passes(self, *, classes: int, steps_per_epoch: int) -> int:
        """Passes over the images of a task.

        Args:
            classes: number of classes that the task brings.
            steps_per_epoch: training steps in a pass over its images.
        """
        del classes, steps_per_epoch
        return 1

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The values of settings that are not given, by name."""
        fields = dataclasses.fields(cls)
        return {each.name: each.default for each in fields if each.default != dataclasses.MISSING}

    def as_json(self) -> dict[str, Any]:
        """Returns all settings by name, as they come back from JSON: lists for tuples."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def check_task(self, *, side: int, classes: int) -> None:
        """Refuses what a task cannot be learnt with.

        Args:
            side: S of its images.
            classes: number of classes that it brings.

        Raises:
            InputError: the networks do not fit.
        """
        del side, classes

    def check_replicas(self, replicas: int) -> None:
        """Refuses what a number of replicas cannot share.

        Args:
            replicas: number of devices that share each step.

        Raises:
            InputError: a batch size is no multiple of their number, or XLA is on.
        """
        for name in ("batch_size", "replay_batch"):
            if (size := getattr(self, name, 0)) % replicas:
                raise InputError(
                    f"each replica takes as many images: {name} is {size}, which {replicas} "
                    f"replicas cannot share evenly; choose a multiple of {replicas}"
                )
        if replicas > 1 and self.batch_size < 2 * replicas:
            raise InputError(
                f"each replica takes at least two images: batch_size is {self.batch_size} for "
                f"{replicas} replicas"
            )
        if replicas > 1 and getattr(self, "jit_compile", False):
            raise InputError(
                "replicas meet within a step, where XLA cannot wait for them: use jit_compile with "
                "one device"
            )

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))  # A module may have its annotations as texts.
        for field in dataclasses.fields(self):
            value = _checked(field, kinds[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True)
class NearestMeanSettings(MethodSettings):
    """Settings of the nearest class mean, which reads each image once."""

    @property
    def least_images(self) -> int:
        return 1


@dataclasses.dataclass(frozen=True)
class LearnerSettings(MethodSettings):
    """Settings of a method with a classifier of the critic's shape and a budget per task."""

    recipes: ClassVar[Mapping[str, Recipe]] = RECIPES

    epochs: int = setting(
        0,
        "passes over a task's images; 0: as many as --steps needs",
        flag=True,
        later=True,
    )
    steps: int = setting(
        1200,
        "training steps for each class of a task where --epochs is 0, rounded up to whole passes "
        "over its images; a warning says where --epochs gives a class fewer than 300 "
        "(or than steps, where these are fewer)",
        low=1,
        flag=True,
        later=True,
    )
    critic_size: int = setting(
        16, "d: critic and classifier have d, 2d, 4d, ... channels", low=1, flag=True
    )
    consolidation_steps: int = setting(
        200,
        "steps that train the classifier on generated images of all classes after a task's "
        "generator is finished; 0 leaves them out (DGM's paper)",
        flag=True,
        later=True,
    )
    consolidation_start: str = _classifier_start(CLASSIFIER_STARTS)
    augmentation: str = setting(
        "light",
        "distortions of the classifier's images, next to the small rotations, zooms, shifts and "
        "noise that all get: "
        "none, light (contrast, brightness and tint vary), photo (light, and half of the images "
        "are inverted), mirror (half of the images are mirrored, for things without a left and a "
        "right) or light+mirror",
        choices=AUGMENTATIONS,
        later=True,
    )
    recipe: str = setting(
        "tuned",
        "constants of training: tuned, or paper (as in the method's paper; the page on differences "
        "says what differs by either)",
    )
    jit_compile: bool = setting(
        False, "compile training steps with XLA; for accelerators, a CPU is slower", flag=True
    )

    @property
    def details(self) -> Recipe:
        """The constants that `recipe` names."""
        return self.recipes[self.recipe]

    def passes(self, *, classes: int, steps_per_epoch: int) -> int:
        return self.epochs or -(-self.steps * classes // steps_per_epoch)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe not in self.recipes:
            raise InputError(f"recipe must be {' or '.join(self.recipes)}, not {self.recipe!r}")


def _checked(field: dataclasses.Field, kind: Any, value: Any) -> Any:
    """The value in Python's own type: NumPy's numbers are none of JSON's."""
    if not field.metadata.keys() >= {"choices", "low", "high"} or kind not in _KINDS:
        raise InputError(
            f"the setting {field.name} must be made by dgm_tf.setting and be an int, a float, a "
            f"bool, a str or tuple[int, ...], not {kind}"
        )
    choices, low, high = (field.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        raise InputError(f"{field.name} must be {' or '.join(choices)}, not {value!r}")
    if kind is int:
        most = _LARGEST_SEED if field.name == "seed" else _LARGEST
        value = _checks.integer(value, field.name, low=low, high=high)
        if value > most:
            raise InputError(f"{field.name} must be at most {most}, got {value}")
    elif kind is float:
        value = _checks.number(value, field.name, low=low, high=high)
    elif kind == tuple[int, ...]:
        if not isinstance(value, tuple | list):  # JSON has only lists.
            raise InputError(f"{field.name} must be a list of integers, not {value!r}")
        value = tuple(_checks.integer(each, f"each of {field.name}", low=low) for each in value)
    elif not isinstance(value, kind):
        wanted = "true or false" if kind is bool else "a text"
        raise InputError(f"{field.name} must be {wanted}, not {value!r}")
    return value


@dataclasses.dataclass(frozen=True)
class JointSettings(LearnerSettings):
    """Settings of joint training, whose classifier takes as many steps as DGM's critic does."""


@dataclasses.dataclass(frozen=True)
class ExperienceReplaySettings(JointSettings):
    """Settings of experience replay, which trains its classifier as joint training does."""

    buffer_bytes: int = setting(
        3_300_000,
        "bytes of stored images, all old classes together; by default as many as a memory of DGMw "
        "takes after ten tasks",
        low=1,
    )


@dataclasses.dataclass(frozen=True)
class ReplaySettings(LearnerSettings):
    """Settings of every learner with a GAN."""

    latent_dim: int = setting(128, "length of the generator's input vector", low=2)
    generator_size: int = setting(
        20, "g: the generator starts with ..., 4g, 2g and g units", low=1, flag=True
    )
    learning_rate: float = setting(6e-3, "Adam's rate for the generator", flag=True, later=True)
    critic_learning_rate: float = setting(6e-3, "Adam's rate for the critic", flag=True, later=True)
    penalty_weight: float = setting(1.0, "weight of the gradient penalty", later=True)
    class_weight: float = setting(
        1.0,
        "weight of the classification term on generated images in the generator's loss; DGR has "
        "no such term",
        later=True,
    )
    replay_buffer: int = setting(
        2048,
        "images in the replay buffer of balanced mode, or more so that each old class has 32; DGR "
        "has no buffer",
        low=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # A single image has no spread, which shows whether a generator has collapsed.
        _checks.integer(self.batch_size, "batch_size", low=2)


@dataclasses.dataclass(frozen=True)
class DGMSettings(ReplaySettings):
    """Settings of Dynamic Generative Memory.

    Each field's `help` describes it, and the page of settings has them in one table. The default
    values are those of variant w. `dgm_tf.settings_for` and `dgm_tf.DGM` know those of variant a.

    Raises:
        InputError: a value is of the wrong type or out of range.

    Example:
        ```python
        import dataclasses

        settings = dgm_tf.settings_for(None, variant="a", steps=600)  # a's own masks and size
        longer = dataclasses.replace(settings, steps=2400)
        model = dgm_tf.DGM(longer)
        ```
    """

    variant: str = setting(
        "w",
        "masks on weights (w, DGMw) or on units (a, DGMa)",
        choices=VARIANTS,
        flag=True,
    )
    generator_size: int = setting(
        12, "g: the generator starts with ..., 4g, 2g and g units", low=1, flag=True
    )
    generator_widths: tuple[int, ...] = setting(
        (),
        "units of each block of the generator before the first task; by default generator_size "
        "decides, with as many blocks as suit the size of the images",
        low=1,
    )
    upsampling: str = setting(
        "zeros",
        "what the generator's kernels see of a pixel: zeros (4x4 on one pixel among zeros, the "
        "paper's transposed convolution) or nearest (3x3 on repeated pixels)",
        choices=UPSAMPLING,
    )
    s_max: float = setting(
        1e4, "steepest mask: s grows to this value (Eq. 2 and 3)", low=1, flag=True
    )
    sparsity: float = setting(
        0.08, "weight lambda of the sparsity term (Eq. 5)", flag=True, later=True
    )
    replay: str = setting(
        "balanced",
        "balanced (a fixed number of replayed images per step) or full (one batch per old class)",
        choices=REPLAY_MODES,
        flag=True,
    )
    replay_batch: int = setting(32, "replayed images per step, all old classes together")
    consolidation_start: str = _classifier_start(("critic", *CLASSIFIER_STARTS))
    penalty_fraction: float = setting(
        1.0,
        "fraction of a step's images at which the gradient penalty is computed; a smaller one is "
        "faster",
        high=1,
        later=True,
    )
    consolidation_batch: int = setting(
        128, "generated images in a step of consolidation, next to the real ones", low=1, later=True
    )
    real_margins: float = setting(
        0.0,
        "fraction of the generated images in consolidation whose left and right margins, a sixth "
        "of the width each, are those of a real image of the task",
        high=1,
        later=True,
    )

    def check_task(self, *, side: int, classes: int) -> None:
        self.first_widths(side)
        if self.latent_dim <= classes:
            raise InputError(
                "latent_dim must be larger than the number of a task's classes, whose label takes "
                f"its first entries: {classes} classes, latent_dim is {self.latent_dim}"
            )

    def first_widths(self, side: int) -> tuple[int, ...]:
        """Units of the generator's blocks before the first task, for images of S x S pixels.

        Args:
            side: S, a multiple of 4.

        Returns:
            Units, from the first block to the last.

        Raises:
            InputError: `generator_widths` has more blocks than S can be halved.
        """
        widths = self.generator_widths
        if not widths:
            return sizes.widths(self.generator_size, sizes.doublings(side))
        if side % 2 ** len(widths):
            raise InputError(
                f"generator_widths {list(widths)} are {len(widths)} blocks, which make images of a "
                f"multiple of {2 ** len(widths)} pixels a side, not {side}: give as many widths as "
                f"fit, such as {sizes.doublings(side)}, or another image_size"
            )
        return widths


@dataclasses.dataclass(frozen=True)
class GANSettings(ReplaySettings):
    """Settings of the conditional GAN that fine-tuning, EWC, DGR and MeRGAN share."""

    recipes: ClassVar[Mapping[str, Recipe]] = GAN_RECIPES

    critic_steps: int = setting(1, "updates of the critic for each of the generator", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        # These steps train the only classifier.
        _checks.integer(self.consolidation_steps, "consolidation_steps", low=1)


@dataclasses.dataclass(frozen=True)
class EWCSettings(GANSettings):
    """Settings of elastic weight consolidation of the generator (Seff et al. 2017)."""

    ewc_strength: float = setting(1e5, "weight of the pull towards the old weights")
    fisher_samples: int = setting(
        512, "generated images on which the Fisher information is estimated", low=1
    )


@dataclasses.dataclass(frozen=True)
class DGRSettings(GANSettings):
    """Settings of deep generative replay (Shin et al. 2017)."""

    new_fraction: float = setting(
        0.0,
        "fraction of the new task's images in both networks' data; 0: 1 / (number of tasks)",
        high=1,
    )


@dataclasses.dataclass(frozen=True)
class MeRGANSettings(GANSettings):
    """Settings of memory replay GANs (Wu et al. 2018) with joint training on replayed images."""

    replay_batch: int = setting(32, "replayed images per step, all old classes together")


@dataclasses.dataclass(frozen=True)
class AlignedSettings(MeRGANSettings):
    """Settings of memory replay GANs (Wu et al. 2018) with replay alignment."""

    alignment: float = setting(3e-2, "weight of the squared distance to the old images")


def later_names(kind: type[MethodSettings]) -> set[str]:
    """The names of a method's settings that a memory may change for later tasks."""
    return {field.name for field in dataclasses.fields(kind) if field.metadata["later"]}


def setting_names(kind: type[MethodSettings]) -> set[str]:
    """The names of a method's settings."""
    return {field.name for field in dataclasses.fields(kind)}
