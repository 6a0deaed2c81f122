"""An exported model read back for people at a desk."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import dgm_tf
from dgm_tf import pictures
from dgm_tf.errors import InputError
from dgm_tf.serving import loading
from tests.layers.layer_check import bits
from tests.serving.tiny_export import LABELS, LATENT, NAMES, TASKS, learner

CLASSES = tuple(label for classes in TASKS for label in classes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """NAME with version 1, without the classifier, and version 2, with it."""
    path = tmp_path_factory.mktemp("exports") / "memory"
    learner().export(path)
    learner().export(path, classifier=True)
    return path


@pytest.fixture(scope="module")
def generator(folder):
    return dgm_tf.load_generator(folder)


def test_the_newest_version_is_loaded_unless_another_is_named(folder, generator, tmp_path):
    assert generator.path == folder / "2"
    assert dgm_tf.load_generator(folder / "1").path == folder / "1"
    for number in (2, 10):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "saved_model.pb").write_bytes(b"")
    (tmp_path / "11").mkdir()  # not a model
    assert loading.newest_version(tmp_path) == tmp_path / "10"


def test_it_knows_what_it_holds(generator):
    assert generator.classes == CLASSES and generator.class_tasks == (1, 1, 2, 3, 3)
    assert generator.class_names == tuple(NAMES[label] for label in CLASSES)
    assert generator.image_shape == (16, 16, 1) and generator.noise_length == LATENT
    assert generator.versions["dgm_tf"] == dgm_tf.__version__


def test_it_draws_what_the_learner_draws(generator):
    own = bits(learner().generate(LABELS, seed=4))
    np.testing.assert_array_equal(bits(generator.generate(LABELS, seed=4)), own)
    second = generator.generate(LABELS[5:], seed=4, first=5)
    np.testing.assert_array_equal(bits(second), own[5:])
    noise = np.random.RandomState(0).normal(size=(2, LATENT))
    assert generator.generate_from_noise([3, 5], noise).shape == (2, 16, 16, 1)


def test_it_classifies_if_it_was_exported_so(folder, generator):
    pixels = np.random.RandomState(0).randint(0, 256, [6, 16, 16, 1]).astype(np.uint8)
    images = pixels / np.float32(127.5) - 1
    expected = learner().classify(images)
    np.testing.assert_array_equal(generator.classify(images), expected)
    np.testing.assert_array_equal(generator.classify(pixels), expected)
    with pytest.raises(InputError, match="exported without its classifier"):
        dgm_tf.load_generator(folder / "1").classify(images)


def test_the_audit_notices_other_images(folder, generator, tmp_path):
    assert generator.audit() == {1: True, 2: True, 3: True}
    copy = shutil.copytree(folder / "1", tmp_path / "1")
    description = copy / "assets" / "model.json"
    changed = json.loads(description.read_text())
    changed["audit"][1]["seeds"][0][0] += 1
    description.write_text(json.dumps(changed))
    assert dgm_tf.load_generator(copy).audit() == {1: True, 2: False, 3: True}


@pytest.mark.parametrize("labels", [[4], [3, 77], [-1]])
def test_a_class_that_is_not_learnt_is_an_input_error(generator, labels):
    with pytest.raises(InputError, match=rf"class {labels[-1]} has not been learnt.*3 \(three\)"):
        generator.generate(labels)


def test_noise_of_another_shape_is_an_input_error(generator):
    with pytest.raises(InputError, match=r"noise of shape \(1, 10\), received \(2, 10\)"):
        generator.generate_from_noise([3], np.zeros([2, LATENT]))


def test_what_is_no_exported_model_is_an_input_error(folder, tmp_path):
    with pytest.raises(InputError, match="holds none"):
        dgm_tf.load_generator(tmp_path)
    copy = shutil.copytree(folder / "1", tmp_path / "1")
    (copy / "variables" / "variables.index").unlink()
    with pytest.raises(InputError, match="damaged"):
        dgm_tf.load_generator(copy)
    (copy / "assets" / "model.json").write_text('{"format": "dgm_tf export", "version": 99}')
    with pytest.raises(InputError, match="of version 1"):
        dgm_tf.load_generator(copy)
    (copy / "assets" / "model.json").unlink()
    with pytest.raises(InputError, match="exported by dgm_tf"):
        dgm_tf.load_generator(tmp_path)


def test_a_sample_is_a_grid_of_the_classes_asked_for(folder, generator, tmp_path):
    said = loading.sample(
        model=folder, labels=("5", "one"), count=3, out=tmp_path / "grid.png", seed=2
    )
    assert said == f"6 images of five, one: {tmp_path / 'grid.png'}"
    images = generator.generate([5, 5, 5, 1, 1, 1], seed=2)
    names = ["five"] * 3 + ["one"] * 3
    pictures.sample_grid(images, 3, tmp_path / "expected.png", labels=names)
    assert (tmp_path / "grid.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    loading.sample(model=folder, count=20, out=tmp_path / "all.png")
    with Image.open(tmp_path / "all.png") as grid:
        assert grid.height == 10 * (16 * 2 + 2) + 2  # two rows a class


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"labels": ("nine",)}, "class nine has not been learnt"),
        ({"count": 0}, "--count"),
        ({"seed": -1}, "--seed"),
        ({"model": "/nowhere"}, "/nowhere holds none"),
    ],
)
def test_what_cannot_be_drawn_is_said(folder, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        loading.sample(**{"model": folder, "out": tmp_path / "grid.png", **wrong})
    assert list(tmp_path.iterdir()) == []
