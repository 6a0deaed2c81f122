"""Every number of every learner in one place, and the presets per data set."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError

VARIANTS = ("w", "a")
REPLAY_MODES = ("balanced", "full")
RATE_DECAYS = ("none", "cosine")
CRITIC_NORMS = ("none", "batch")
CRITIC_INITIALIZERS = ("normal", "he")
CLASSIFIER_STARTS = ("new", "previous")
CONSOLIDATION_STARTS = ("critic", *CLASSIFIER_STARTS)
DISTRIBUTIONS = ("none", "mirrored", "multiworker")  # no setting: a run may change them


def _setting(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    metadata = {"help": text} | ({"choices": choices} if choices else {})
    return dataclasses.field(default=default, metadata=metadata)


def _second_decay(default: float) -> Any:
    return _setting(default, "second decay of Adam in both networks, from 0 to below 1")


def _classifier_start(choices: tuple[str, ...]) -> Any:
    return _setting(
        "new",
        "what a task's classifier is made of: new (first weights of its own), previous (the "
        "classifier of the task before) or, in DGM alone, critic (as the task has left it)",
        choices,
    )


def passes(epochs: int, least_steps: int, steps_per_epoch: int) -> int:
    """Passes over a task's images: `epochs`, or more where these are too few steps."""
    return max(epochs, -(-least_steps // steps_per_epoch))


def setting_names(kind: type["LearnerSettings"]) -> set[str]:
    """What the settings of a method are called."""
    return {field.name for field in dataclasses.fields(kind)}


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
    """What every learner has: a classifier of the critic's shape and a budget per task.

    The defaults of this class and of those below suit handwritten digits on two CPU cores.
    `settings_for` gives the presets, among them the papers' own.
    """

    epochs: int = _setting(16, "passes over a task's images (I in Eq. 3)")
    least_steps: int = _setting(
        0, "training steps of a task at least: more epochs for classes of few images"
    )
    batch_size: int = _setting(64, "real images in a training step")
    critic_size: int = _setting(32, "d: critic and classifier have d, 2d and 4d channels")
    critic_norm: str = _setting(
        "none",
        "normalisation in DGM's critic and in every method's classifier: none, or batch (DGM's "
        "paper)",
        CRITIC_NORMS,
    )
    critic_initializer: str = _setting(
        "he",
        "the classifier's first weights, DGM's critic's, too: normal (standard deviation 0.02, "
        "DGM's paper) or he (scaled by each layer's inputs)",
        CRITIC_INITIALIZERS,
    )
    consolidation_steps: int = _setting(
        600,
        "steps that train the classifier on generated images of all classes "
        "once a task's generator is finished; 0 leaves them out (DGM's paper)",
    )
    consolidation_start: str = _classifier_start(CLASSIFIER_STARTS)
    consolidation_batch: int = _setting(
        128, "generated images in a consolidation step; real ones in each step of joint training"
    )
    consolidation_learning_rate: float = _setting(3e-3, "Adam's first rate in consolidation")
    classifier_average: float = _setting(
        0.0,
        "decay of a running mean of the classifier's weights over the steps of its training, which "
        "takes their place at the end; from 0 (none: the last weights) to below 1",
    )
    color_jitter: float = _setting(
        0.0,
        "how much contrast, brightness and tint of the classifier's images are varied; 0: not, "
        "1: contrast by up to a factor of 1.6 either way",
    )
    inverted_share: float = _setting(
        0.0, "share of the classifier's images whose light and dark are turned, 0 to 1"
    )
    seed: int = _setting(0, "where all randomness of the run comes from")
    mixed_precision: bool = _setting(
        False,
        "compute in bfloat16; weights, masks, statistics and what DGM recalls stay float32. For "
        "accelerators: a CPU is several times slower with it",
    )
    jit_compile: bool = _setting(
        False,
        "let XLA compile the training steps. For accelerators: a CPU is slower with it",
    )

    def check_replicas(self, replicas: int) -> None:
        """Finds what so many replicas cannot share.

        Raises:
            InputError: a batch size that is no multiple of their number, or XLA.
        """
        for name in ("batch_size", "replay_batch", "consolidation_batch"):
            if (size := getattr(self, name, 0)) % replicas:
                raise InputError(
                    f"each replica takes as many images: {name} is {size}, which {replicas} "
                    f"replicas cannot share evenly; choose a multiple of {replicas}"
                )
        if replicas > 1 and self.batch_size < 2 * replicas:
            raise InputError(
                f"each replica takes two images at least: batch_size is {self.batch_size} for "
                f"{replicas} replicas"
            )
        if self.jit_compile and replicas > 1:
            raise InputError(
                "replicas meet within a step, where XLA cannot wait for them: jit_compile goes "
                "with one device alone"
            )

    def epochs_for(self, steps_per_epoch: int) -> int:
        """Passes over the images of a task with so many steps in each."""
        return passes(self.epochs, self.least_steps, steps_per_epoch)

    @property
    def dtype(self) -> str:
        """The precision of networks, as Keras names it."""
        return "mixed_bfloat16" if self.mixed_precision else "float32"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise InputError(
                    f"{field.name} must be {' or '.join(choices)}, not {value!r}"
                    f"{_elsewhere(field.name, value)}"
                )
            low = _LOWEST.get(field.name, 0)
            if field.type is int:
                _checks.integer(value, field.name, low=low)
            elif field.type is float:
                _checks.number(value, field.name, low=low)
                if field.name.endswith("_share") and value > 1:
                    raise InputError(f"{field.name} must be a share from 0 to 1, got {value!r}")
                if field.name in _BELOW_ONE and value >= 1:
                    raise InputError(f"{field.name} must be from 0 to below 1, got {value!r}")
            elif not isinstance(value, field.type):
                wanted = "true or false" if field.type is bool else "a text"
                raise InputError(f"{field.name} must be {wanted}, not {value!r}")


@dataclasses.dataclass(frozen=True)
class JointSettings(LearnerSettings):
    """How joint training's classifier is trained; it takes as many steps as DGM's critic does."""


@dataclasses.dataclass(frozen=True)
class ReplaySettings(LearnerSettings):
    """What every learner with a GAN has."""

    latent_dim: int = _setting(128, "length of the generator's input vector")
    generator_size: int = _setting(20, "g: the generator starts with 4g, 2g and g units")
    learning_rate: float = _setting(2e-3, "Adam's rate for the generator")
    critic_learning_rate: float = _setting(2e-3, "Adam's rate for the critic")
    rate_decay: str = _setting(
        "cosine",
        "both rates over a task's adversarial steps: none (constant, the papers) or cosine (to 0)",
        RATE_DECAYS,
    )
    beta_1: float = _setting(0.5, "first decay of Adam in both networks, from 0 to below 1")
    beta_2: float = _second_decay(0.99)
    penalty_weight: float = _setting(1.0, "weight of the gradient penalty")
    class_weight: float = _setting(
        1.0,
        "weight of the classification term on generated images in the generator's loss, which "
        "dgr's has none of",
    )
    replay_buffer: int = _setting(
        2048, "images held by the replay buffer in balanced mode; dgr replays without one"
    )
    steps_per_execution: int = _setting(
        1, "training steps per call of the graph at most; a divisor of an epoch's steps is taken"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # A single image has no spread, by which a generator's collapse is noticed.
        _checks.integer(self.batch_size, "batch_size", low=2)


@dataclasses.dataclass(frozen=True)
class DGMSettings(ReplaySettings):
    """How one DGM learner is built and trained."""

    variant: str = _setting(
        "w", "what the masks lie on: w (weights, DGMw) or a (units, DGMa)", VARIANTS
    )
    s_max: float = _setting(1e4, "steepest mask: s grows to this value (Eq. 2 and 3)")
    annealed_share: float = _setting(
        0.5,
        "share of a task's epochs in which masks are annealed (1: the paper); from then on they "
        "are as steep as s_max",
    )
    sparsity: float = _setting(0.08, "weight lambda of the sparsity term (Eq. 5)")
    sparsity_follows_size: bool = _setting(
        True,
        "scale lambda by present size / initial size: a weight is pulled the harder the larger the "
        "generator has become, so that later tasks reserve less",
    )
    output_follows_width: bool = _setting(
        False,
        "scale the rate of the generator's output layer by its first / its present number of "
        "inputs, and its first weights by the root of that",
    )
    replay: str = _setting(
        "balanced",
        "balanced (a fixed number of replayed images per step) or full (one batch per old class)",
        REPLAY_MODES,
    )
    replay_batch: int = _setting(64, "replayed images per step, of all old classes together")
    class_updates: int = _setting(
        1,
        "updates of the critic by its classes in a training step: the first together with the "
        "Wasserstein loss, each further one by the classification term alone, on the same real "
        "images and on other replayed ones",
    )
    consolidation_start: str = _classifier_start(CONSOLIDATION_STARTS)
    consolidation_real_share: float = _setting(
        0.5, "share of the task's real images in its own classes' loss in consolidation"
    )
    real_margin_share: float = _setting(
        0.0,
        "share of the generated images in consolidation whose left and right margins, a sixth of "
        "the width each, rounded down, are those of a real image of the task, 0 to 1",
    )
    distillation_share: float = _setting(
        0.5,
        "share of what the classifier before says of old classes' images in their loss in "
        "consolidation; the rest is their labels'",
    )
    distillation_temperature: float = _setting(
        2.0, "how much both are softened there, at least 1 (not at all)"
    )


@dataclasses.dataclass(frozen=True)
class GANSettings(ReplaySettings):
    """How the conditional GAN is trained that fine-tuning, EWC, DGR and MeRGAN share."""

    gan_critic_initializer: str = _setting(
        "normal",
        "first weights of the critic that the generator learns from, as critic_initializer",
        CRITIC_INITIALIZERS,
    )
    beta_2: float = _second_decay(0.999)
    critic_steps: int = _setting(1, "updates of the critic for one of the generator")

    def __post_init__(self) -> None:
        super().__post_init__()
        # There is no other classifier than the one that these steps train.
        _checks.integer(self.consolidation_steps, "consolidation_steps", low=1)


@dataclasses.dataclass(frozen=True)
class EWCSettings(GANSettings):
    """Elastic weight consolidation of the generator (Seff et al. 2017)."""

    ewc_strength: float = _setting(1e3, "weight of the pull towards the old weights")
    fisher_samples: int = _setting(512, "generated images that the Fisher information is taken on")


@dataclasses.dataclass(frozen=True)
class DGRSettings(GANSettings):
    """Deep generative replay (Shin et al. 2017)."""

    new_share: float = _setting(
        0.0, "share of the new task's images in both networks' data; 0: 1 / (number of tasks)"
    )


@dataclasses.dataclass(frozen=True)
class MeRGANJTRSettings(GANSettings):
    """MeRGAN with joint training on replayed images (Wu et al. 2018)."""

    replay_batch: int = _setting(64, "replayed images per step, of all old classes together")


@dataclasses.dataclass(frozen=True)
class MeRGANRASettings(GANSettings):
    """MeRGAN with replay alignment (Wu et al. 2018)."""

    replay_batch: int = _setting(64, "replayed images per step, of all old classes together")
    alignment: float = _setting(1e-3, "weight of the squared distance to the old images")


# What DGM's generator does not depend on.
CLASSIFIER_SETTINGS = frozenset(
    {
        "classifier_average",
        "color_jitter",
        "consolidation_batch",
        "consolidation_learning_rate",
        "consolidation_real_share",
        "consolidation_start",
        "consolidation_steps",
        "distillation_share",
        "distillation_temperature",
        "inverted_share",
        "real_margin_share",
    }
)

# What each method is called on the command line, and its settings.
METHODS: Mapping[str, type[LearnerSettings]] = {
    "dgm": DGMSettings,
    "joint": JointSettings,
    "joint_gan": GANSettings,
    "fine_tune": GANSettings,
    "ewc": EWCSettings,
    "dgr": DGRSettings,
    "mergan_jtr": MeRGANJTRSettings,
    "mergan_ra": MeRGANRASettings,
}
PRESETS = ("cpu", "paper")

# Settings that came later than the first runs, with what runs without them did: a folder that does
# not name them is one of these.
_ADDED: Mapping[str, Any] = {
    "least_steps": 0,
    "annealed_share": 1.0,
    "output_follows_width": False,
    "consolidation_start": "new",
    "real_margin_share": 0.0,
    "distillation_share": 0.0,
    "distillation_temperature": 2.0,
    "critic_initializer": "normal",
    "gan_critic_initializer": "normal",
    "beta_1": 0.5,
    "beta_2": 0.999,
    "color_jitter": 0.0,
    "inverted_share": 0.0,
    "classifier_average": 0.0,
    "class_updates": 1,
    "mixed_precision": False,
    "jit_compile": False,
}
_ADDED_TO_DGM: Mapping[str, Any] = {"consolidation_start": "critic"}


def added(kind: type[LearnerSettings]) -> dict[str, Any]:
    """Settings that runs may be too old for, with what such runs of `kind` did."""
    return {**_ADDED, **(_ADDED_TO_DGM if issubclass(kind, DGMSettings) else {})}


def recorded(kind: type[LearnerSettings], found: Mapping[str, Any]) -> Any:
    """Settings that a file holds, and where it is older than one of them, what was done then.

    Args:
        kind: of the values of `METHODS`.
        found: values by name.

    Raises:
        InputError: a value out of range.
        TypeError: a name that `kind` does not have.
    """
    return kind(**recorded_values(kind, found))


def recorded_values(kind: type[LearnerSettings], found: Mapping[str, Any]) -> dict[str, Any]:
    """What `recorded` makes settings of, unchecked."""
    names = setting_names(kind)
    return {name: value for name, value in added(kind).items() if name in names} | dict(found)


def typed(values: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them, the whole ones among the settings of type float made floats."""
    return {
        name: float(value) if types.get(name) is float and type(value) is int else value
        for name, value in values.items()
    }


def method_of(learner: str) -> str:
    """What a learner is called on the command line: `dgm` for `dgm-w` and `dgm-a`."""
    return "dgm" if learner.startswith("dgm-") else learner


_LOWEST = {
    "epochs": 1,
    "batch_size": 1,
    "s_max": 1,
    "latent_dim": 2,
    "generator_size": 1,
    "critic_size": 1,
    "critic_steps": 1,
    "class_updates": 1,
    "replay_batch": 0,
    "replay_buffer": 1,
    "consolidation_batch": 1,
    "distillation_temperature": 1,
    "fisher_samples": 1,
    "steps_per_execution": 1,
}
_BELOW_ONE = {"beta_1", "beta_2", "classifier_average"}

# The reference experiments; SVHN's variant a is not among them and takes the settings of MNIST's.
_PAPER: Mapping[str, Any] = {
    "batch_size": 64,
    "latent_dim": 128,
    "critic_size": 32,
    "critic_initializer": "normal",
    "consolidation_learning_rate": 1e-3,
    "classifier_average": 0.0,
    "rate_decay": "none",
}
_PAPER_DGM: Mapping[str, Any] = {
    "epochs": 101,
    "critic_norm": "batch",
    "annealed_share": 1.0,
    "beta_2": 0.999,
    "learning_rate": 2e-3,
    "critic_learning_rate": 2e-3,
    "penalty_weight": 1.0,
    "replay": "full",
    "class_updates": 1,
    "consolidation_steps": 0,
    "consolidation_start": "critic",
    "consolidation_real_share": 0.0,
    "real_margin_share": 0.0,
    "distillation_share": 0.0,
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
# MeRGAN's experiments count iterations of five critic steps, 4001 a task and 8001 for ten MNIST
# tasks and for SVHN: as many epochs of a mean class.
_PAPER_GAN: Mapping[str, Any] = {
    "epochs": 506,
    "generator_size": 32,
    "learning_rate": 1e-4,
    "critic_learning_rate": 1e-4,
    "beta_1": 0.0,
    "beta_2": 0.9,
    "critic_steps": 5,
    "penalty_weight": 10.0,
}
_PAPER_GAN_SVHN: Mapping[str, Any] = {"epochs": 388, "alignment": 1e-2}

# What suits two CPU cores: smaller batches at a higher rate reach better images in the same time,
# and a critic of half the channels is three times as fast.
_CPU: Mapping[str, Any] = {
    "batch_size": 32,
    "learning_rate": 6e-3,
    "critic_learning_rate": 6e-3,
    "critic_size": 16,
    "replay_batch": 32,
}
# Units are shared by masks on weights, and grown where they are needed: a classifier learns no less
# from the images of a small start. DGMa's start is the paper's.
_CPU_BY_VARIANT: Mapping[str, Mapping[str, Any]] = {
    "w": {"generator_size": 12, "s_max": 1e4, "sparsity": 0.08},
    "a": {"generator_size": 20, "s_max": 1e5, "sparsity": 0.01},
}
# The other methods' generator is as large as DGMa's first one. At so high a rate the weak holds on
# old classes that the papers have let go within a task; these were chosen by how many images of
# the first four classes an oracle recognised, on scikit-learn's digits.
_CPU_GAN: Mapping[str, Any] = {"generator_size": 20, "ewc_strength": 1e5, "alignment": 3e-2}
_CPU_BY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "digits": {"epochs": 60, "consolidation_steps": 200},
    "mnist": {"epochs": 12, "consolidation_steps": 1200},
    "fashion_mnist": {"epochs": 12, "consolidation_steps": 1200},
    # Photographs, few of each class: a stiffer critic and a lower rate draw digits where the others
    # draw stains; and a digit may be lighter or darker than its ground, of any colours.
    "svhn_cropped": {
        "epochs": 90,
        "learning_rate": 2.5e-3,
        "critic_learning_rate": 2.5e-3,
        "penalty_weight": 10.0,
        "alignment": 1e-2,
        "consolidation_steps": 1200,
        "color_jitter": 1.0,
        "inverted_share": 0.5,
    },
    "cifar10": {"epochs": 12, "consolidation_steps": 1200},
}


# Where a task is few steps, or a class few images, it takes a critic that learns faster.
_CPU_DGM_BY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "digits": {"critic_learning_rate": 1.2e-2},
    # Generated photographs teach less than real ones: its classifier sees a house number's other
    # digits as they are.
    "svhn_cropped": {
        "critic_learning_rate": 5e-3,
        "output_follows_width": True,
        "real_margin_share": 0.5,
    },
}
# DGM's and joint training's classifier goes on from the one of the task before where whole runs
# have shown that DGM's gains by it; on Fashion-MNIST it loses.
_CPU_GOES_ON = ("digits", "svhn_cropped")
# What a smaller start saves goes into clearer images.
_CPU_DGMW_BY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "mnist": {"epochs": 24},
    "fashion_mnist": {"epochs": 18},
    "svhn_cropped": {"epochs": 135},
}


def settings_for(
    dataset: str,
    variant: str | None = None,
    preset: str = "cpu",
    *,
    method: str = "dgm",
    **overrides: Any,
) -> Any:
    """The settings of a preset for one data set and method.

    Args:
        dataset: its name; one that has no settings of its own takes the general ones.
        variant: `"w"` (also for None) or `"a"`; of method `"dgm"` alone.
        preset: `"cpu"` (two cores, minutes to an hour) or `"paper"` (the reference experiments).
        method: one of `METHODS`.
        **overrides: fields of the method's settings.

    Raises:
        InputError: an unknown method, variant or preset, a setting that the method does not have,
            or a value out of range.
    """
    if method not in METHODS:
        raise InputError(f"method must be {', '.join(METHODS)}, not {method!r}")
    if preset not in PRESETS:
        raise InputError(f"preset must be {' or '.join(PRESETS)}, not {preset!r}")
    fields = setting_names(METHODS[method])
    if variant is not None:
        overrides["variant"] = variant
    if foreign := sorted(set(overrides) - fields):
        raise InputError(f"{' and '.join(foreign)} mean nothing to method {method}: leave them out")
    variant = variant or "w"
    if variant not in VARIANTS:
        raise InputError(f"variant must be w (weights) or a (units), not {variant!r}")
    svhn = dataset == "svhn_cropped"
    if preset == "cpu":
        mine = _CPU_BY_VARIANT[variant] if method == "dgm" else _CPU_GAN
        chosen = {**_CPU, **mine, **_CPU_BY_DATASET.get(dataset, {})}
        if method == "dgm":
            chosen |= _CPU_DGM_BY_DATASET.get(dataset, {})
            chosen |= _CPU_DGMW_BY_DATASET.get(dataset, {}) if variant == "w" else {}
        if dataset in _CPU_GOES_ON and method in ("dgm", "joint"):
            chosen["consolidation_start"] = "previous"
    elif method in ("dgm", "joint"):
        chosen = {**_PAPER, **_PAPER_DGM, **_PAPER_BY_VARIANT[variant]}
        chosen |= _PAPER_SVHN if svhn else {}
        if svhn and variant == "w":
            chosen["sparsity"] = 0.001
        if method == "joint":
            chosen["consolidation_start"] = "new"  # there is no critic to go on from
    else:
        chosen = {**_PAPER, **_PAPER_GAN, **(_PAPER_GAN_SVHN if svhn else {})}
    chosen = {name: value for name, value in chosen.items() if name in fields}
    return METHODS[method](**{**chosen, **overrides})


def _elsewhere(name: str, value: Any) -> str:
    """Where a choice that is refused would be taken, as an error goes on."""
    methods = [
        method
        for method, kind in METHODS.items()
        for field in dataclasses.fields(kind)
        if field.name == name and value in field.metadata.get("choices", ())
    ]
    return f", which is for the method {' or '.join(methods)}" if methods else ""
