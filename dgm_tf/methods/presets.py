"""Settings for known data sets: what suits two CPU cores, and the papers' own.

A row holds what differs from the defaults of `dgm_tf.methods.settings`; the rows of `TUNED` come on
top of `_GENERAL`. Rows are named by data set and by what is trained: `dgm-w`,
`dgm-a`, `joint` (a classifier on real images, in joint training and in experience replay) and `gan`
(the conditional GAN that all other methods share). `buffer_bytes` is about DGMw's memory after ten
tasks of the data set: four bytes for each of the generator's parameters in results/runs.csv and a
bit for each task's mask.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import VARIANTS, MethodSettings, setting_names

PRESETS = ("tuned", "paper")

Row = Mapping[str, Any]

# Of all data, unless a row of theirs says otherwise. Units are shared by masks on weights and grown
# where they are needed, so that DGMw may start smaller than DGMa, which has the paper's size.
_GENERAL: Mapping[str, Row] = {
    "dgm-w": {},
    "dgm-a": {"generator_size": 20, "s_max": 1e5, "sparsity": 0.01},
    "joint": {},
    "gan": {},
}

# Of known data sets, unless a row of theirs says otherwise, and by the papers. On other data the
# default, light, brought accuracy from 46 to 70 % on digits in front of photographs, 2 points on
# photographs of things, and next to nothing on grey images; see studies/budget.
_KNOWN: Row = {"augmentation": "none"}

TUNED: Mapping[str, Mapping[str, Row]] = {
    "digits": {
        "dgm-w": {
            "epochs": 60,
            "steps": 180,
            "critic_learning_rate": 1.2e-2,
            "penalty_fraction": 0.25,
            "consolidation_steps": 200,
            "consolidation_batch": 64,
        },
        "dgm-a": {
            "epochs": 60,
            "steps": 180,
            "critic_learning_rate": 1.2e-2,
            "consolidation_steps": 200,
        },
        "joint": {
            "epochs": 60,
            "steps": 180,
            "consolidation_steps": 200,
            "buffer_bytes": 880_000,
        },
        "gan": {
            "epochs": 60,
            "steps": 180,
            "critic_learning_rate": 1.2e-2,
            "consolidation_steps": 200,
        },
    },
    # With the Wasserstein loss a quarter of the penalty and half of the consolidation's images were
    # as accurate on digits, and faster. In the one run made on SVHN, A10 was 3.6 points lower.
    "mnist": {
        "dgm-w": {
            "epochs": 24,
            "penalty_fraction": 0.25,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "consolidation_batch": 64,
        },
        "dgm-a": {
            "epochs": 12,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
        },
        "joint": {
            "epochs": 12,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "buffer_bytes": 2_500_000,
        },
        "gan": {"epochs": 12, "consolidation_steps": 1200, "consolidation_start": "new"},
    },
    # A warm start of the classifier loses accuracy here.
    "fashion_mnist": {
        "dgm-w": {"epochs": 18, "consolidation_steps": 1200, "consolidation_start": "new"},
        "dgm-a": {
            "epochs": 12,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
        },
        "joint": {
            "epochs": 12,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "buffer_bytes": 2_440_000,
        },
        "gan": {
            "epochs": 12,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "ewc_strength": 1e4,
        },
    },
    # Photographs, few of each class: lower rates draw digits where the others draw stains. A digit
    # may be lighter or darker than its ground, of any colours, and it stands between a house
    # number's other digits.
    "svhn_cropped": {
        "dgm-w": {
            "epochs": 135,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 5e-3,
            "class_weight": 0.1,
            "upsampling": "nearest",
            "consolidation_steps": 1200,
            "augmentation": "photo",
            "real_margins": 0.5,
        },
        "dgm-a": {
            "epochs": 90,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 5e-3,
            "class_weight": 0.1,
            "consolidation_steps": 1200,
            "augmentation": "photo",
            "real_margins": 0.5,
        },
        "joint": {
            "epochs": 90,
            "consolidation_steps": 1200,
            "augmentation": "photo",
            "buffer_bytes": 2_040_000,
        },
        "gan": {
            "epochs": 90,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 2.5e-3,
            "alignment": 1e-2,
            "consolidation_steps": 1200,
            "augmentation": "photo",
        },
    },
    # Photographs of things, which look the same in a mirror; SVHN's rates. Light brings three
    # points to a classifier of generated images and nothing to one of real ones.
    "cifar10": {
        "dgm-w": {
            "epochs": 40,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 5e-3,
            "class_weight": 0.1,
            "upsampling": "nearest",
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "augmentation": "light+mirror",
        },
        "dgm-a": {
            "epochs": 27,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 5e-3,
            "class_weight": 0.1,
            "upsampling": "nearest",
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "augmentation": "light+mirror",
        },
        "joint": {
            "epochs": 27,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "augmentation": "mirror",
            "buffer_bytes": 1_890_000,
        },
        "gan": {
            "epochs": 27,
            "learning_rate": 2.5e-3,
            "critic_learning_rate": 2.5e-3,
            "consolidation_steps": 1200,
            "consolidation_start": "new",
            "augmentation": "light+mirror",
        },
    },
}

# The reference experiments: Ostapenko et al. 2018 for DGM, Wu et al. 2018 for the other GANs, whose
# 8001 iterations of five critic steps a task, as for ten tasks, are as many passes of a mean class.
_PAPER_MNIST: Mapping[str, Row] = {
    "dgm-w": {
        "recipe": "paper",
        "epochs": 101,
        "batch_size": 64,
        "critic_size": 32,
        "generator_size": 6,
        "learning_rate": 2e-3,
        "critic_learning_rate": 2e-3,
        "s_max": 1e4,
        "sparsity": 0.08,
        "replay": "full",
        "consolidation_steps": 0,
        "consolidation_start": "critic",
    },
    "dgm-a": {
        "recipe": "paper",
        "epochs": 101,
        "batch_size": 64,
        "critic_size": 32,
        "generator_size": 20,
        "learning_rate": 2e-3,
        "critic_learning_rate": 2e-3,
        "s_max": 1e5,
        "sparsity": 0.01,
        "replay": "full",
        "consolidation_steps": 0,
        "consolidation_start": "critic",
    },
    "joint": {
        "recipe": "paper",
        "epochs": 101,
        "batch_size": 64,
        "critic_size": 32,
        "consolidation_steps": 0,
        "consolidation_start": "new",
    },
    "gan": {
        "recipe": "paper",
        "epochs": 506,
        "batch_size": 64,
        "critic_size": 32,
        "generator_size": 32,
        "learning_rate": 1e-4,
        "critic_learning_rate": 1e-4,
        "critic_steps": 5,
        "penalty_weight": 10.0,
        "consolidation_steps": 600,
        "consolidation_start": "new",
        "replay_batch": 64,
        "ewc_strength": 1e3,
        "alignment": 1e-3,
    },
}
PAPER: Mapping[str, Mapping[str, Row]] = {
    **dict.fromkeys(("digits", "mnist", "fashion_mnist", "cifar10"), _PAPER_MNIST),
    # SVHN's variant a is not among the reference experiments; it takes MNIST's masks.
    "svhn_cropped": {
        "dgm-w": {
            **_PAPER_MNIST["dgm-w"],
            "epochs": 151,
            "learning_rate": 5e-4,
            "critic_learning_rate": 5e-4,
            "sparsity": 0.001,
        },
        "dgm-a": {
            **_PAPER_MNIST["dgm-a"],
            "epochs": 151,
            "learning_rate": 5e-4,
            "critic_learning_rate": 5e-4,
        },
        "joint": {**_PAPER_MNIST["joint"], "epochs": 151},
        "gan": {**_PAPER_MNIST["gan"], "epochs": 388, "alignment": 1e-2},
    },
}


def settings_for(
    dataset: str | None,
    method: str = "dgm",
    *,
    variant: str | None = None,
    preset: str = "tuned",
    **overrides: Any,
) -> MethodSettings:
    """Settings of a method for a data set.

    Args:
        dataset: name of a known data set; None for data without a preset.
        method: one of `dgm_tf.methods.registry.METHODS`.
        variant: `"w"` (also for None) or `"a"`; only DGM has it.
        preset: `"tuned"` (two cores, minutes to an hour) or `"paper"` (the reference experiments;
            MNIST's for data without a preset).
        **overrides: settings that replace those of the preset.

    Returns:
        An object of the method's settings class, such as `DGMSettings`.

    Raises:
        InputError: an unknown data set, method, variant or preset, a setting that the method does
            not have, or a value out of range.

    Example:
        ```python
        settings = dgm_tf.settings_for("digits", variant="a", epochs=10)
        model = dgm_tf.DGM(settings)
        print(settings.generator_size, dgm_tf.settings_for("digits", "ewc").ewc_strength)
        ```
    """
    if dataset is not None:
        _checks.one_of("data set", dataset, TUNED)
    _checks.one_of("method", method, METHODS)
    _checks.one_of("preset", preset, PRESETS)
    kind = METHODS[method].settings
    names = setting_names(kind)
    if variant is not None:
        overrides["variant"] = variant
    _check_names(method, overrides)
    row = METHODS[method].preset.replace("dgm", f"dgm-{variant or 'w'}")
    if variant is not None and variant not in VARIANTS:
        raise InputError(f"variant must be w (weights) or a (units), not {variant!r}")
    if preset == "paper":
        chosen = {**_KNOWN, **PAPER[dataset or "mnist"][row]}
    else:
        chosen = {**_GENERAL[row], **({**_KNOWN, **TUNED[dataset][row]} if dataset else {})}
    # A row of the shared GAN names what only some of its methods have.
    chosen = {name: value for name, value in chosen.items() if name in names}
    if "steps" in overrides:  # which the preset's passes would put aside
        chosen.pop("epochs", None)
    return kind(**{**chosen, **overrides})


def changed(settings: Any, method: str, changes: Mapping[str, Any]) -> Any:
    """Settings with some of them replaced; steps replace epochs, too.

    Args:
        settings: of the method.
        method: one of `dgm_tf.methods.registry.METHODS`.
        changes: by name.

    Raises:
        InputError: a setting that the method does not have, or a value out of range.
    """
    _check_names(method, changes)
    if "steps" in changes and "epochs" in setting_names(type(settings)):
        changes = {"epochs": 0, **changes}
    return dataclasses.replace(settings, **changes)


def _check_names(method: str, given: Iterable[str]) -> None:
    names = setting_names(METHODS[method].settings)
    if foreign := sorted(set(given) - names):
        raise InputError(
            f"method {method} has no setting {' and no '.join(foreign)}; it has "
            f"{', '.join(sorted(names))}"
        )
