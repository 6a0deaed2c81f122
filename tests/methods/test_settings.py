"""Settings and presets: the reference experiments' numbers, and a line for what cannot be."""

import dataclasses
import json

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.learners.losses import ADVERSARIAL
from dgm_tf.methods.presets import PAPER, PRESETS, TUNED, settings_for
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import (
    RECIPE_CHOICES,
    RECIPES,
    DGMSettings,
    JointSettings,
    MethodSettings,
    Recipe,
    setting,
    setting_names,
)
from tests.refusals import refused

DATASETS = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", None)
# The paper's experiments: g, d, epochs per task, batch, rate of both networks, s_max, lambda, gp.
REFERENCE = [
    ("mnist", "w", (6, 32, 101, 64, 2e-3, 1e4, 0.08, 1)),
    ("mnist", "a", (20, 32, 101, 64, 2e-3, 1e5, 0.01, 1)),
    ("svhn_cropped", "w", (6, 32, 151, 64, 5e-4, 1e4, 0.001, 1)),
]


@pytest.mark.parametrize("dataset, variant, numbers", REFERENCE)
def test_the_paper_preset_has_the_numbers_of_the_reference_experiments(dataset, variant, numbers):
    settings = settings_for(dataset, variant=variant, preset="paper")
    assert numbers == (
        settings.generator_size,
        settings.critic_size,
        settings.epochs,
        settings.batch_size,
        settings.learning_rate,
        settings.s_max,
        settings.sparsity,
        settings.penalty_weight,
    )
    assert settings.variant == variant
    assert settings.critic_learning_rate == settings.learning_rate
    assert settings.latent_dim == 128
    assert settings.replay == "full"
    assert (settings.consolidation_steps, settings.consolidation_start) == (0, "critic")
    assert (settings.augmentation, settings.real_margins) == ("none", 0)
    assert settings.penalty_fraction == 1
    assert settings.details == Recipe(
        adversarial_loss="wasserstein",
        critic_norm="batch",
        critic_initializer="normal",
        rate_decay="none",
        beta_1=0.5,
        beta_2=0.999,
        annealed_fraction=1.0,
        consolidation_learning_rate=1e-3,
        real_weight=0.0,
        distillation_weight=0.0,
    )


def test_the_shared_gan_has_its_own_papers_recipe():
    settings = settings_for("mnist", "mergan_ra", preset="paper")
    recipe = settings.details
    assert (recipe.beta_1, recipe.beta_2, recipe.rate_decay) == (0.0, 0.9, "none")
    assert (settings.critic_steps, settings.penalty_weight) == (5, 10)
    assert (settings.learning_rate, settings.alignment) == (1e-4, 1e-3)
    assert settings_for("svhn_cropped", "mergan_ra", preset="paper").alignment == 1e-2


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_data_set_has_every_preset_of_every_method(dataset, method, preset):
    settings = settings_for(dataset, method, preset=preset)
    assert type(settings) is METHODS[method].settings
    changed = settings_for(dataset, method, preset=preset, batch_size=3, seed=5)
    assert changed == dataclasses.replace(settings, batch_size=3, seed=5)


@pytest.mark.parametrize("table", [TUNED, PAPER])
def test_a_row_names_settings_of_the_methods_that_it_serves(table):
    gans = [name for name, method in METHODS.items() if method.preset == "gan"]
    classifiers = [name for name, method in METHODS.items() if method.preset == "joint"]
    serves = {"dgm-w": ["dgm"], "dgm-a": ["dgm"], "joint": classifiers, "gan": gans}
    for rows in table.values():
        assert rows.keys() == serves.keys()
        for row, values in rows.items():
            known = set().union(*(setting_names(METHODS[name].settings) for name in serves[row]))
            assert set(values) <= known


@pytest.mark.parametrize("variant", ["w", "a"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_data_that_share_a_variant_share_its_masks(dataset, variant):
    settings = settings_for(dataset, variant=variant)
    masks = settings.generator_size, settings.s_max, settings.sparsity
    assert masks == ((12, 1e4, 0.08) if variant == "w" else (20, 1e5, 0.01))


def test_dgm_has_few_settings():
    assert len(dataclasses.fields(DGMSettings)) <= 27
    for field in dataclasses.fields(DGMSettings):
        assert field.metadata["help"], field.name


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DGMSettings().epochs = 3


@pytest.mark.parametrize(
    "arguments, wanted, message",
    [
        (("digitz",), {}, "unknown data set 'digitz' .did you mean 'digits'..: choose one of"),
        (("x",), {}, "unknown data set 'x': choose one of digits, mnist"),
        (("mnist",), {"variant": "x"}, "variant must be w .* or a .*, not 'x'"),
        (("mnist",), {"preset": "cpu"}, "unknown preset 'cpu'"),
        (("mnist", "mergan"), {}, "unknown method 'mergan' .did you mean"),
        (("mnist", "joint"), {"s_max": 1.0}, "method joint has no setting s_max; it has"),
        (("mnist", "ewc"), {"variant": "w"}, "method ewc has no setting variant"),
        (("mnist", "joint"), {"consolidation_start": "critic"}, "must be new or previous, not"),
        (("mnist",), {"recipe": "mine"}, "recipe must be tuned or paper, not 'mine'"),
    ],
)
def test_what_no_preset_has_is_refused(arguments, wanted, message):
    with pytest.raises(InputError, match=message):
        settings_for(*arguments, **wanted)


def test_an_ablation_registers_a_recipe(monkeypatch):
    monkeypatch.setitem(RECIPES, "no distillation", Recipe(distillation_weight=0.0))
    settings = settings_for("digits", recipe="no distillation")
    assert settings.details.distillation_weight == 0.0


@pytest.mark.parametrize(
    "field, value",
    [
        ("variant", "x"),
        ("variant", 3),
        ("replay", "none"),
        ("augmentation", True),
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", None),
        ("epochs", True),
        ("steps", 0),
        ("batch_size", 1),
        ("batch_size", -1),
        ("s_max", 0.5),
        ("s_max", float("inf")),
        ("s_max", "1e4"),
        ("sparsity", -0.1),
        ("sparsity", float("nan")),
        ("sparsity", False),
        ("jit_compile", "no"),
        ("learning_rate", -1e-3),
        ("penalty_weight", -1.0),
        ("real_margins", 1.5),
        ("latent_dim", 1),
        ("generator_size", 0),
        ("generator_widths", 12),
        ("generator_widths", "12,6"),
        ("critic_size", 0),
        ("replay_buffer", 0),
        ("consolidation_steps", -1),
        ("seed", -1),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(field, value):
    with pytest.raises(InputError) as error:
        DGMSettings(**{field: value})
    assert field in str(error.value) and repr(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_numpys_numbers_become_those_of_json_and_whole_rates_floats():
    given = {"seed": np.int64(3), "learning_rate": 1, "sparsity": np.float32(0.5)}
    settings = DGMSettings(**given, generator_widths=(np.int64(4), 2, 2))
    written = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert (written["seed"], written["sparsity"], written["generator_widths"]) == (
        3,
        0.5,
        [4, 2, 2],
    )
    assert type(settings.learning_rate) is float  # Keras' cosine of whole numbers has a pi of 3.


def test_a_setting_of_ones_own_has_a_range_and_a_type():
    class_ = dataclasses.make_dataclass
    base = {"bases": (MethodSettings,), "frozen": True}
    most = class_("Most", [("k", "int", setting(3, "", low=1, high=50))], **base)
    assert most(k=50).k == 50
    with refused("k must be an integer from 1 to 50, got 51"):
        most(k=51)
    several = class_("Several", [("k", tuple[int, ...], setting((1,), ""))], **base)
    assert several(**json.loads(json.dumps(several(k=(8, 4)).as_json()))).k == (8, 4)
    with refused("k must be a list of integers, not 3"):
        several(k=3)
    for kind, default in ((tuple[float, ...], setting((), "")), (int, 3)):
        with refused("the setting k must be made by dgm_tf.setting and be an int"):
            class_("Odd", [("k", kind, default)], **base)()


@pytest.mark.parametrize("field", ["sparsity", "consolidation_steps", "penalty_weight", "seed"])
def test_nothing_is_a_value_where_it_means_something(field):
    assert getattr(DGMSettings(**{field: 0}), field) == 0


@pytest.mark.parametrize("method", ["fine_tune", "ewc", "dgr", "mergan_jtr", "mergan_ra"])
def test_a_classifier_that_nothing_else_trains_needs_steps(method):
    with pytest.raises(InputError, match="consolidation_steps must be an integer of at least 1"):
        settings_for("digits", method, consolidation_steps=0)


def test_replicas_share_batches_evenly():
    settings = settings_for("mnist", batch_size=32, replay_batch=24)
    settings.check_replicas(1)
    settings.check_replicas(8)
    with pytest.raises(InputError, match="replay_batch is 24, which 16 replicas cannot share"):
        settings.check_replicas(16)
    with pytest.raises(InputError, match="batch_size is 32.*a multiple of 3"):
        settings.check_replicas(3)


def test_xla_goes_with_one_device():
    settings = settings_for("mnist", "joint", jit_compile=True)
    settings.check_replicas(1)
    with pytest.raises(InputError, match="use jit_compile with one device"):
        settings.check_replicas(2)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "nearest_mean"])
def test_all_methods_are_measured_by_the_same_classifier(method, preset):
    for dataset in DATASETS:
        mine, dgms = (settings_for(dataset, name, preset=preset) for name in (method, "dgm"))
        assert mine.critic_size == dgms.critic_size
        # Light brings generated photographs of things more variety; real ones have it.
        real = isinstance(mine, JointSettings) and (dataset, preset) == ("cifar10", "tuned")
        assert mine.augmentation == ("mirror" if real else dgms.augmentation)
        for name in ("critic_initializer", "consolidation_learning_rate"):
            assert getattr(mine.details, name) == getattr(dgms.details, name)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "nearest_mean"])
def test_data_without_a_preset_are_seen_in_other_light(method):
    assert settings_for(None, method).augmentation == "light"
    assert settings_for("digits", method).augmentation == "none"
    assert settings_for("svhn_cropped", method).augmentation == "photo"
    assert settings_for(None, method, preset="paper").augmentation == "none"


@pytest.mark.parametrize("method", METHODS)
def test_the_defaults_of_a_settings_class_are_those_of_data_without_a_preset(method):
    assert METHODS[method].settings() == settings_for(None, method)


@pytest.mark.parametrize("name", RECIPE_CHOICES)
def test_a_recipe_of_ones_own_has_constants_that_there_are(name):
    with pytest.raises(InputError, match=f"{name} .hinge.*{RECIPE_CHOICES[name][0]}"):
        Recipe(**{name: "hinge"})


def test_every_adversarial_loss_of_a_recipe_is_one_that_there_is():
    assert set(RECIPE_CHOICES["adversarial_loss"]) == set(ADVERSARIAL)


def test_steps_that_are_asked_for_are_not_put_aside_by_the_presets_passes():
    assert settings_for("digits", steps=10).epochs == 0
    both = settings_for("digits", steps=10, epochs=3)
    assert (both.steps, both.epochs) == (10, 3)
    assert settings_for("digits").epochs == 60
