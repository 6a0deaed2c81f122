"""Settings: the reference experiments' numbers, and one line for every value that cannot be."""

import dataclasses

import pytest

from dgm_tf.errors import InputError
from dgm_tf.settings import METHODS, DGMSettings, added, recorded, settings_for

# The paper's experiments: g, d, epochs per task, batch, rate of both networks, s_max, lambda, gp.
REFERENCE = [
    ("mnist", "w", (6, 32, 101, 64, 2e-3, 1e4, 0.08, 1)),
    ("mnist", "a", (20, 32, 101, 64, 2e-3, 1e5, 0.01, 1)),
    ("svhn_cropped", "w", (6, 32, 151, 64, 5e-4, 1e4, 0.001, 1)),
]


@pytest.mark.parametrize("dataset, variant, numbers", REFERENCE)
def test_paper_preset_has_the_numbers_of_the_reference_experiments(dataset, variant, numbers):
    settings = settings_for(dataset, variant, "paper")
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
    assert settings.critic_norm == "batch"
    assert settings.critic_initializer == "normal"
    assert settings.annealed_share == 1
    assert (settings.beta_1, settings.beta_2) == (0.5, 0.999)
    assert settings.replay == "full"
    assert settings.consolidation_steps == 0
    assert settings.consolidation_start == "critic"
    assert settings.distillation_share == settings.consolidation_real_share == 0
    assert settings.real_margin_share == 0
    assert not settings.output_follows_width
    assert (settings.classifier_average, settings.class_updates) == (0, 1)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("variant", ["w", "a"])
@pytest.mark.parametrize(
    "dataset", ["digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "one of my own"]
)
def test_every_data_set_has_every_preset(dataset, variant, preset):
    settings = settings_for(dataset, variant, preset)
    assert settings.variant == variant
    changed = settings_for(dataset, variant, preset, epochs=3, s_max=7.0, seed=5)
    assert changed == dataclasses.replace(settings, epochs=3, s_max=7.0, seed=5)


def test_every_field_says_what_it_is_for():
    for field in dataclasses.fields(DGMSettings):
        assert field.metadata["help"], field.name


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DGMSettings().epochs = 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("mnist", "x"), "variant must be w .* or a .*, not 'x'"),
        (("mnist", "w", "gpu"), "preset must be cpu or paper, not 'gpu'"),
    ],
)
def test_an_unknown_variant_or_preset_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        settings_for(*arguments)


@pytest.mark.parametrize(
    "field, value",
    [
        ("variant", "x"),
        ("variant", 3),
        ("replay", "none"),
        ("critic_norm", "layer"),
        ("epochs", 0),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", None),
        ("epochs", True),
        ("batch_size", 0),
        ("batch_size", -1),
        ("s_max", 0.5),
        ("s_max", float("inf")),
        ("s_max", "1e4"),
        ("sparsity", -0.1),
        ("sparsity", float("nan")),
        ("sparsity", False),
        ("sparsity_follows_size", "no"),
        ("learning_rate", -1e-3),
        ("critic_learning_rate", float("nan")),
        ("penalty_weight", -1.0),
        ("beta_1", -0.1),
        ("beta_2", 1.0),
        ("classifier_average", -0.1),
        ("classifier_average", 1.0),
        ("classifier_average", float("nan")),
        ("class_updates", 0),
        ("class_updates", 1.5),
        ("latent_dim", 1),
        ("generator_size", 0),
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


@pytest.mark.parametrize("field", ["sparsity", "consolidation_steps", "penalty_weight", "seed"])
def test_nothing_is_a_value_where_it_means_something(field):
    assert getattr(DGMSettings(**{field: 0}), field) == 0


@pytest.mark.parametrize("method", ["fine_tune", "ewc", "dgr", "mergan_jtr", "mergan_ra"])
def test_a_classifier_that_nothing_else_trains_needs_steps(method):
    with pytest.raises(InputError, match="consolidation_steps must be an integer of at least 1"):
        settings_for("digits", method=method, consolidation_steps=0)


def test_replicas_share_batches_evenly():
    settings = settings_for("mnist", batch_size=32, replay_batch=24, consolidation_batch=128)
    settings.check_replicas(1)
    settings.check_replicas(8)
    with pytest.raises(InputError, match="replay_batch is 24, which 16 replicas cannot share"):
        settings.check_replicas(16)
    with pytest.raises(InputError, match="batch_size is 32.*a multiple of 3"):
        settings.check_replicas(3)


def test_xla_goes_with_one_device_alone():
    settings = settings_for("mnist", method="joint", jit_compile=True)
    settings.check_replicas(1)
    with pytest.raises(InputError, match="jit_compile goes with one device alone"):
        settings.check_replicas(2)


@pytest.mark.parametrize("method", METHODS)
def test_settings_that_a_file_is_too_old_for_are_what_they_were_then(method):
    kind = METHODS[method]
    now = settings_for("digits", method=method, seed=3)
    assert recorded(kind, dataclasses.asdict(now)) == now
    names = {field.name for field in dataclasses.fields(kind)}
    since = {name: value for name, value in added(kind).items() if name in names}
    assert since["consolidation_start"] == ("critic" if method == "dgm" else "new")
    then = {name: value for name, value in dataclasses.asdict(now).items() if name not in since}
    assert recorded(kind, then) == dataclasses.replace(now, **since)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("variant", ["w", "a"])
def test_joint_trainings_classifier_is_made_as_dgms(variant, preset):
    joint = settings_for("mnist", preset=preset, method="joint")
    dgm = settings_for("mnist", variant, preset)
    common = {field.name for field in dataclasses.fields(joint)}
    if (variant, preset) == ("w", "cpu"):
        common -= {"epochs"}  # of the GAN: DGM's classifier has steps of its own
        assert dgm.epochs > joint.epochs
    if preset == "paper":
        common -= {"consolidation_start"}
        assert (dgm.consolidation_start, joint.consolidation_start) == ("critic", "new")
    assert {name: getattr(joint, name) for name in common} == {
        name: getattr(dgm, name) for name in common
    }


@pytest.mark.parametrize("method", METHODS)
def test_dgms_classifier_and_joint_trainings_go_on_where_dgms_gains_by_it(method):
    for dataset in ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "my own"):
        goes_on = dataset in ("digits", "svhn_cropped") and method in ("dgm", "joint")
        start = settings_for(dataset, method=method).consolidation_start
        assert start == ("previous" if goes_on else "new")


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"dgm"}))
def test_a_classifier_goes_on_from_a_critic_in_dgm_alone(method):
    with pytest.raises(InputError, match="consolidation_start must be new or previous, not"):
        settings_for("digits", method=method, consolidation_start="critic")


@pytest.mark.parametrize("variant", ["w", "a"])
def test_svhns_classifier_alone_sees_real_margins(variant):
    for dataset in ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10"):
        share = settings_for(dataset, variant).real_margin_share
        assert share == (0.5 if dataset == "svhn_cropped" else 0)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_all_methods_are_measured_by_the_same_classifier(method, preset):
    names = ("critic_initializer", "consolidation_batch", "consolidation_learning_rate")
    names += ("classifier_average", "color_jitter", "inverted_share", "critic_size")
    for dataset in ("digits", "mnist", "svhn_cropped"):
        mine, dgms = (settings_for(dataset, preset=preset, method=name) for name in (method, "dgm"))
        for name in names:
            assert getattr(mine, name) == getattr(dgms, name)
