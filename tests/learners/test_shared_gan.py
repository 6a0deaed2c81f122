"""The GAN methods of the table: their losses by hand, and what each does to the old classes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.stream import class_incremental
from dgm_tf.errors import InputError
from dgm_tf.learners.dgr import Mixed, Scholar
from dgm_tf.learners.ewc import ElasticPull, fisher_information
from dgm_tf.learners.losses import ADVERSARIAL
from dgm_tf.learners.mergan import Alignment, JointReplay, OldImages
from dgm_tf.learners.shared_gan import SharedGANLearner
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS, new_learner
from dgm_tf.networks import ConditionalGenerator, Critic
from tests.layers.layer_check import bits
from tests.same_state import assert_same_state
from tests.tiny_phases import BrokenOff

SEED = randomness.pair(0, "test")
GANS = [name for name, method in METHODS.items() if method.preset == "gan"]
TINY = {
    "epochs": 1,
    "batch_size": 32,
    "latent_dim": 8,
    "generator_size": 2,
    "critic_size": 4,
    "consolidation_steps": 4,
    "replay_buffer": 64,
}


def digits():
    return class_incremental("digits", classes_per_task=[2, 3, 5])


def learner(method, stream, **changes):
    if method == "ewc":
        changes = {"fisher_samples": 16, **changes}
    return new_learner(method, settings_for("digits", method=method, **{**TINY, **changes}), stream)


def networks(classes=3):
    """A generator and a critic with weights that are not all alike."""
    generator = ConditionalGenerator((16, 16, 1), classes, size=2, latent_dim=8, seed=1)
    critic = Critic((16, 16, 1), classes, size=4, seed=2)
    for network in (generator, critic):
        network.build()
        for index, variable in enumerate(network.trainable_variables):
            draws = np.random.default_rng(index).normal(size=variable.shape)
            variable.assign(variable.numpy() + 0.1 * draws)
    generator.calibrate(SEED)
    return generator, critic


def moved(generator, by=0.05):
    """A copy whose weights have moved."""
    other = generator.successor(generator.classes)
    for index, variable in enumerate(other.trainable_variables):
        draws = np.random.default_rng(50 + index).normal(size=variable.shape)
        variable.assign(variable.numpy() + by * draws)
    return other


def cross_entropy(logits, positions):
    logits = np.float64(logits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(shares[np.arange(len(positions)), positions])


# Every method through the contract; `test_bits` has what they learn, save and resume.


def test_a_task_that_was_broken_off_leaves_the_learner_as_it_was():
    """EWC, which also keeps what it has measured of a task."""
    tasks = digits().tasks()
    model = learner("ewc", None)
    model.learn(next(tasks))
    before = model.state()
    with pytest.raises(KeyboardInterrupt):
        model.learn(next(tasks), callbacks=[BrokenOff("consolidation")])
    assert_same_state(model.state(), before)


@pytest.mark.parametrize("method", GANS)
def test_nothing_can_be_drawn_before_anything_is_learnt(method):
    stream = digits()
    with pytest.raises(InputError):
        learner(method, stream).generate([0])


def after_two_tasks(method, **changes):
    """A learner whose GAN has learnt two tasks, and whose classifiers have learnt nothing."""
    stream = digits()
    model = learner(method, stream, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            SharedGANLearner,
            "train_classifier",
            lambda self, generator, task, callbacks: (self.initial_classifier(task), {}),
        )
        for task in itertools.islice(stream, 2):
            model.learn(task)
    return model


@pytest.fixture(scope="module")
def fine_tuned():
    return after_two_tasks("fine_tune")


@pytest.mark.parametrize(
    "method, off",
    [
        ("ewc", {"ewc_strength": 0.0}),
        ("mergan_ra", {"alignment": 0.0}),
        pytest.param("mergan_jtr", {"replay_batch": 0}, marks=pytest.mark.slow),
    ],
)
def test_a_method_whose_term_is_switched_off_is_fine_tuning_bit_for_bit(method, off, fine_tuned):
    switched_off = after_two_tasks(method, **off)
    for mine, its in zip(switched_off.generator.weights, fine_tuned.generator.weights, strict=True):
        np.testing.assert_array_equal(bits(mine.numpy()), bits(its.numpy()))


def gan_phase(model, task):
    return model.gan_phase(task, epochs=1, steps_per_epoch=task.steps_per_epoch(32))


def test_several_critic_steps_come_before_one_of_the_generator():
    stream = digits()
    model = learner("fine_tune", stream, critic_steps=3)
    task = next(iter(stream))
    phase = gan_phase(model, task)
    step, batches = phase.step_function(), iter(task.batches(32, epochs=6, seed=0))
    changes = []
    for _ in range(6):
        before = [net.trainable_variables[0].numpy() for net in (phase.critic, phase.generator)]
        step(batches)
        after = [net.trainable_variables[0].numpy() for net in (phase.critic, phase.generator)]
        changes.append([bool(np.any(a != b)) for a, b in zip(after, before, strict=True)])
    assert changes == [[True, False], [True, False], [True, True]] * 2


class Drawn:
    """A generator whose images are filled with their class's position."""

    latent_dim = 8

    def __call__(self, noise, positions, *, training):
        shape = [*noise.shape[:2], 16, 16, 1]
        return tf.broadcast_to(tf.cast(positions, tf.float32)[:, None, None, None, None], shape)


class Watched:
    """A critic that notes what it is shown."""

    def __init__(self, critic):
        self._critic, self.shown = critic, []

    def __call__(self, images, training):
        self.shown.append(images)
        return self._critic(images, training=training)


@pytest.mark.parametrize("classes", [1, 3, 9, 10])
def test_the_critic_is_shown_generated_images_of_every_class(classes):
    stream = class_incremental("digits", classes_per_task=[classes, *[1] * (10 - classes)])
    task = next(iter(stream))
    phase = gan_phase(learner("fine_tune", stream), task)
    phase.generator, phase.critic = Drawn(), Watched(phase.critic)
    counts = np.zeros(classes, int)
    steps = 5
    for images, labels in itertools.islice(task.batches(32, epochs=steps, seed=0), steps):
        phase.critic.shown.clear()
        phase.critic_step((tf.constant(images), tf.constant(labels)))
        phase.step.assign_add(1)
        fakes = phase.critic.shown[0][32:, 0, 0, 0].numpy().astype(int)
        found = np.bincount(fakes, minlength=classes)
        assert found.max() - found.min() <= 1
        counts += found
    assert counts.sum() == 32 * steps
    # Of ten classes forty are drawn, and eight find no place: others in each step.
    assert counts.max() - counts.min() <= 1


# MeRGAN.


def softplus(values):
    return np.log1p(np.exp(np.float64(values)))


@pytest.mark.parametrize("name", ["wasserstein", "relativistic"])
def test_joint_replays_terms_are_those_of_the_paper(name):
    old, critic = networks()
    new = moved(old)
    images = OldImages(old, 12)
    noise = randomness.normal([3, 4, 8], SEED)
    old_images, new_images = (
        [net(noise[c : c + 1], tf.constant([c]), training=True)[0] for c in range(3)]
        for net in (old, new)
    )
    critic_terms = generator_terms = 0.0
    for position in range(3):
        labels = np.full(4, position)
        old_scores, old_logits = critic(old_images[position])
        new_scores, new_logits = critic(new_images[position])
        if name == "wasserstein":
            critic_terms += np.mean(new_scores) - np.mean(old_scores)
            generator_terms -= np.mean(new_scores)
        else:
            critic_terms += softplus(new_scores - old_scores).mean()
            generator_terms += softplus(old_scores - new_scores).mean()
        critic_terms += cross_entropy(old_logits, labels).mean()
        generator_terms += 0.25 * cross_entropy(new_logits, labels).mean()
    protection = JointReplay(images, ADVERSARIAL[name], class_weight=0.25)
    assert float(protection.critic_loss(critic, new, SEED)) == pytest.approx(critic_terms, rel=1e-4)
    assert float(protection.generator_loss(critic, new, SEED)) == pytest.approx(
        generator_terms, rel=1e-4
    )


def test_alignment_is_the_mean_over_classes_of_half_the_squared_distance():
    old, critic = networks()
    new = moved(old)
    noise = randomness.normal([3, 4, 8], SEED)
    positions = tf.range(3)
    difference = np.float64(old(noise, positions, training=True)) - np.float64(
        new(noise, positions, training=True)
    )
    expected = 0.25 * np.mean(0.5 * np.sum(difference**2, axis=(1, 2, 3, 4)))
    protection = Alignment(OldImages(old, 12), 0.25)
    assert float(protection.generator_loss(critic, new, SEED)) == pytest.approx(expected, rel=1e-4)
    assert float(protection.generator_loss(critic, old, SEED)) == 0.0


def test_the_old_generator_stays_as_it_was():
    old, critic = networks()
    images = OldImages(old, 6)
    before, _ = images.pair(old, SEED)
    old.projection.kernel.assign(0 * old.projection.kernel)
    after, _ = images.pair(old, SEED)
    np.testing.assert_array_equal(before, after)


# EWC.


def test_fisher_information_is_the_mean_of_each_samples_squared_gradient():
    generator, critic = networks()
    noise = randomness.normal([12, 8], SEED)
    variables = generator.trainable_variables

    def losses(z):
        return -critic(generator.recall(1, z))[0]

    found = fisher_information(losses, variables, tf.split(noise, 3))
    expected = [np.zeros(variable.shape) for variable in variables]
    for row in range(12):
        with tf.GradientTape() as tape:
            loss = losses(noise[row : row + 1])[0]
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        for total, gradient in zip(expected, gradients, strict=True):
            total += np.square(np.float64(tf.convert_to_tensor(gradient))) / 12
    for mine, its in zip(found, expected, strict=True):
        assert its.max() > 0
        np.testing.assert_allclose(mine, its, rtol=1e-3, atol=1e-6 * its.max())


def test_the_pull_grows_with_distance_and_fisher_and_leaves_new_classes_alone():
    old, critic = networks(classes=2)
    grown = old.successor(3)
    variables = old.trainable_variables
    fisher = {v.path: np.random.default_rng(1).uniform(size=v.shape) for v in variables}
    fisher = {path: value.astype(np.float32) for path, value in fisher.items()}
    anchors = {variable.path: variable.numpy() for variable in variables}
    pull = ElasticPull(fisher, anchors, 10.0)
    assert float(pull.generator_loss(critic, grown, SEED)) == 0.0
    norm = grown.norms[0]
    gamma = norm.gamma.numpy()
    gamma[2] += 5.0
    norm.gamma.assign(gamma)
    assert float(pull.generator_loss(critic, grown, SEED)) == 0.0
    gamma[1, 0] += 0.5
    norm.gamma.assign(gamma)
    expected = 10.0 / 2 * fisher[norm.gamma.path][1, 0] * 0.25
    assert float(pull.generator_loss(critic, grown, SEED)) == pytest.approx(expected, rel=1e-5)


# DGR.


@pytest.fixture(scope="module")
def scholar_parts():
    """A generator of no class and a solver that finds all of three classes in its images."""
    generator, solver = networks(classes=1)[0], networks(classes=3)[1]
    _, logits = solver(generator.recall(0, randomness.normal([256, 8], SEED)))
    # Each class's logit about as often the largest as any other's.
    head = solver.class_head
    head.bias.assign(head.bias - tf.reduce_mean(logits, axis=0))
    return generator, solver


def test_a_scholar_names_its_images_by_its_solver(scholar_parts):
    generator, solver = scholar_parts
    scholar = Scholar(generator, solver, batch_size=64, seed=SEED)
    images, positions = scholar.draw(tf.constant(0))
    np.testing.assert_array_equal(np.argmax(solver(images)[1], axis=1), positions)
    assert len(np.unique(positions)) > 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_scholar_draws_the_first_try_that_its_solver_takes_for_the_class(scholar_parts, position):
    generator, solver = scholar_parts
    scholar = Scholar(generator, solver)
    noise = randomness.normal([6, 8], SEED)
    drawn = scholar.recall(tf.constant(position), noise)
    for row in range(6):
        tries = np.stack([np.roll(noise[row], shift) for shift in range(32)])
        images = generator.recall(0, tf.constant(tries))
        logits = solver(images)[1].numpy()
        hits = np.flatnonzero(logits.argmax(axis=1) == position)
        shares = np.exp(-cross_entropy(logits, np.full(32, position)))
        expected = images[hits[0] if len(hits) else shares.argmax()]
        np.testing.assert_allclose(drawn[row], expected, atol=1e-5)
    # An image depends on its own noise alone.
    np.testing.assert_allclose(scholar.recall(position, noise[3:4])[0], drawn[3], atol=1e-5)


@pytest.mark.parametrize("fraction, old", [(1.0, 0), (0.5, 4), (0.25, 6)])
def test_a_fraction_of_the_batch_is_new_and_the_rest_replayed(fraction, old):
    generator, _ = networks(classes=1)
    real = tf.fill([8, 16, 16, 1], 0.75)
    images, _ = Mixed(generator, fraction).real(real, tf.zeros([8], tf.int32), SEED)
    assert images.shape == real.shape
    is_new = np.all(images.numpy() == 0.75, axis=(1, 2, 3))
    # By turns: the penalty on the first half sees both.
    assert is_new[:4].sum() == is_new[4:].sum() == (8 - old) // 2
