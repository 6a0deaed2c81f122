"""An exported model read back for people at a desk."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import dgm_tf
from dgm_tf.errors import InputError
from dgm_tf.experiments import memory_use
from dgm_tf.reporting import pictures
from dgm_tf.serving import export, loading, signatures
from tests.layers.layer_check import bits
from tests.serving.tiny_export import LABELS, LATENT, NAMES, TASKS, exported, learner

CLASSES = tuple(label for classes in TASKS for label in classes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """NAME with version 1, without the classifier, and version 2, with it."""
    path = tmp_path_factory.mktemp("exports") / "memory"
    for number, classifier in enumerate([False, True], start=1):
        shutil.copytree(exported(classifier=classifier).path, path / str(number))
    return path


@pytest.fixture(scope="module")
def generator(folder):
    return dgm_tf.load_exported(folder)


def test_the_newest_version_is_loaded_unless_another_is_named(folder, generator, tmp_path):
    assert generator.path == folder / "2"
    assert dgm_tf.load_exported(folder / "1").path == folder / "1"
    for number in (2, 10):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "saved_model.pb").write_bytes(b"")
    (tmp_path / "11").mkdir()  # not a model
    assert loading.newest_version(tmp_path) == tmp_path / "10"


def test_it_knows_what_it_holds(generator):
    assert generator.classes_seen == CLASSES and generator.class_tasks == (1, 1, 2, 3, 3)
    assert generator.class_names == tuple(NAMES[label] for label in CLASSES)
    assert generator.image_shape == (16, 16, 1) and generator.noise_length == LATENT
    assert generator.versions["dgm_tf"] == dgm_tf.__version__


def test_it_generates_what_the_learner_generates(generator):
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
        dgm_tf.load_exported(folder / "1").classify(images)


def test_the_audit_notices_other_images(generator, copy):
    assert generator.audit() == {1: True, 2: True, 3: True}
    other = dgm_tf.load_exported(changed(copy, put([1], "audit", 1, "keys")))
    assert other.audit() == {1: True, 2: False, 3: True}


# What `model.json` says.


def put(content, *path):
    """A change of a description: something else in one place, which is a list index or a key."""

    def change(description):
        inside = description
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = content

    return change


FIRST, AUDIT = ("classes", 0), ("audit", 2)
HOSTILE = {
    "another's": (put("other export", "format"), 'format is not "dgm_tf export"'),
    "a former version": (put(1, "version"), "version is not 2"),
    "other rules for pictures": (put(2, "image", "geometry"), "image.geometry is not 1"),
    "half a pair": (put("\ud800", "learner"), "surrogates not allowed"),
    "versions of lines": (put("3\n4", "versions", "keras"), "versions.keras is not a text of one"),
    "no classes": (put([], "classes"), "its classes are none, or not distinct"),
    "one label twice": (put(0, *FIRST, "label"), "its classes are none, or not distinct"),
    "label beyond int32": (put(2**31, *FIRST, "label"), "label is not an integer from 0 to 2147"),
    "name that escapes": (put("\x1b[2J", *FIRST, "name"), "classes[0].name is not a text of one"),
    "task 0": (put(0, *FIRST, "task"), "classes[0].task is not an integer from 1"),
    "task left out": (put(5, "classes", 4, "task"), "audit is of other classes"),
    "task before": (put(1, "classes", 4, "task"), "its classes are not in order of their tasks"),
    "range": (put([0, 255], "image", "range"), "image.range is not [-1.0, 1.0]"),
    "shape": (put([16, 16], "image", "shape"), "image.shape is not a list of three sizes"),
    "noise without end": (put(2**31, "noise"), "noise is not an integer from 1"),
    "audit": (put([], "audit"), "audit is of other classes"),
    "audited task": (put(2, "audit", 0, "task"), "audit is of other classes"),
    "audited labels": (put([1, 2, 1], *AUDIT, "labels"), "audit is of other classes"),
    "audited label": (put(False, "audit", 0, "labels", 1), "audit[0].labels[1] is not an integer"),
    "a key too few": (put([1], *AUDIT, "keys"), "keys in the audit of task 3 are not one per"),
    "key beyond int64": (put(2**63, *AUDIT, "keys", 0), "audit[2].keys[0] is not an integer"),
    "images": (put(257, *AUDIT, "images_per_label"), "is not an integer from 1 to 256"),
    "hash": (put("0" * 63, *AUDIT, "sha256_of_images"), "audit[2].sha256_of_images is not a SHA"),
}


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder / "1", tmp_path / "1")


def described(copy, content):
    (copy / "assets" / "model.json").write_bytes(content)
    return copy


def changed(copy, *changes):
    description = json.loads((copy / "assets" / "model.json").read_text())
    for change in changes:
        change(description)
    return described(copy, json.dumps(description).encode())


def refused(copy, wanted):
    with pytest.raises(InputError) as error:
        dgm_tf.load_exported(copy)
    line = str(error.value)
    assert wanted in line and len(line.splitlines()) == 1 and len(line) < 1000
    assert line.endswith("; export again")


@pytest.fixture
def unloaded(monkeypatch):
    """Fails the test if the model itself is loaded."""
    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("it was loaded"))


@pytest.mark.parametrize("change, wanted", HOSTILE.values(), ids=list(HOSTILE))
def test_a_description_that_export_does_not_write_is_refused(copy, unloaded, change, wanted):
    refused(changed(copy, change), wanted)


@pytest.mark.parametrize(
    "content, wanted",
    [
        (b"[]", "it is not an object"),
        (b"[" * 50_000, "maximum recursion depth exceeded"),
        (b'{"format": "dgm_tf', "Unterminated string"),
        (b"\xff\xfe", "can't decode"),
        (b'{"version": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_a_description_that_is_no_json_is_refused(copy, unloaded, content, wanted):
    refused(described(copy, content), wanted)


def test_a_description_is_measured_before_it_is_read(copy, unloaded):
    with open(copy / "assets" / "model.json", "w") as file:
        file.truncate(2**40)  # a hole: it takes no disk
    refused(copy, "it is longer than 16777216 bytes")


def test_a_description_that_is_no_file_is_not_waited_for(copy, unloaded):
    (copy / "assets" / "model.json").unlink()
    os.mkfifo(copy / "assets" / "model.json")
    refused(copy, "there is no such file")


def test_a_link_may_not_lead_out_of_the_version(copy, unloaded, tmp_path):
    shutil.move(copy / "assets", tmp_path / "outside")
    os.symlink(tmp_path / "outside", copy / "assets")
    with pytest.raises(InputError, match="is a link that leaves the folder"):
        dgm_tf.load_exported(copy)


def test_a_version_may_be_a_link(copy, tmp_path):
    os.symlink(copy, tmp_path / "2")
    assert dgm_tf.load_exported(tmp_path).path == tmp_path / "2"


@pytest.mark.parametrize("path, content", [(("noise",), 11), (("image", "shape"), [32, 32, 1])])
def test_a_description_of_another_model_is_refused(copy, path, content):
    refused(changed(copy, put(content, *path)), "is of another model: it says noise")


def test_a_class_that_only_the_description_knows_is_an_input_error(copy):
    other = dgm_tf.load_exported(
        changed(copy, put(7, *FIRST, "label"), put(7, "audit", 0, "labels", 0))
    )
    for generate in (other.audit, lambda: other.generate([7])):
        with pytest.raises(InputError, match="does not know each class that its model.json names"):
            generate()


def test_a_class_is_not_known_because_another_has_its_id_as_name(copy):
    other = dgm_tf.load_exported(changed(copy, put("4", *FIRST, "name")))
    with pytest.raises(InputError, match=r"class 4 has not been learnt; known are 3 \(4\), 0"):
        other.generate([4])


class Named:
    """The memory with another name for its first class."""

    def __init__(self, name):
        self.class_names = (name, *learner().class_names[1:])

    def __getattr__(self, name):
        return getattr(learner(), name)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\ud800", "a" * 1001])
def test_a_name_that_would_not_be_read_is_not_written(tmp_path, name):
    with pytest.raises(InputError, match="the name of a class must be one line of at most 1000"):
        export.export(Named(name), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_name_in_any_script_is_written_and_read(tmp_path):
    name = "三 – trois 🙂" + "a" * 900
    done = export.export(Named(name), tmp_path / "m")
    assert dgm_tf.load_exported(done.path).class_names[0] == name


def test_a_model_without_the_signatures_is_refused(copy):
    for path in ("saved_model.pb", "fingerprint.pb"):
        (copy / path).unlink()
    description = (copy / "assets" / "model.json").read_bytes()
    shutil.rmtree(copy / "variables")
    tf.saved_model.save(tf.Module(), str(copy))
    refused(described(copy, description), "the model next to it has None")


@pytest.mark.parametrize("labels", [[4], [3, 77], [-1]])
def test_a_class_that_is_not_learnt_is_an_input_error(generator, labels):
    with pytest.raises(InputError, match=rf"class {labels[-1]} has not been learnt.*3 \(three\)"):
        generator.generate(labels)


@pytest.mark.parametrize("number", [np.nan, np.inf, -10_001.0])
def test_noise_of_no_normal_size_or_another_shape_is_an_input_error(generator, number):
    noise = np.zeros([1, LATENT])
    noise[0, 9] = number
    with pytest.raises(InputError, match=r"expected noise in \[-10000, 10000\]"):
        generator.generate_from_noise([3], noise)
    with pytest.raises(InputError, match=r"noise of shape \(2, 10\), received \(1, 10\)"):
        generator.generate_from_noise([3, 3], noise)


@pytest.mark.parametrize("first", [-1, signatures.ROWS_END, 0.5])
def test_a_first_image_that_cannot_be_is_an_input_error(generator, first):
    with pytest.raises(InputError, match="first must be an integer from 0 to"):
        generator.generate([3], first=first)


def test_files_that_were_cut_short_or_changed_are_damaged(copy):
    graph = copy / "saved_model.pb"
    whole = graph.read_bytes()
    place = whole.index(b"while/")
    graph.write_bytes(whole[:place] + b"whale/" + whole[place + 6 :])
    with pytest.raises(InputError, match="is damaged"):
        dgm_tf.load_exported(copy)
    graph.write_bytes(whole)
    dgm_tf.load_exported(copy)
    (weights,) = (copy / "variables").glob("*.data*")
    os.truncate(weights, 1000)
    with pytest.raises(InputError, match="is damaged .IndexError"):
        dgm_tf.load_exported(copy)


def test_what_is_no_exported_model_is_an_input_error(copy, tmp_path):
    with pytest.raises(InputError, match="holds none"):
        dgm_tf.load_exported(tmp_path / "nowhere")
    (copy / "variables" / "variables.index").unlink()
    with pytest.raises(InputError, match="damaged"):
        dgm_tf.load_exported(copy)
    (copy / "assets" / "model.json").unlink()
    with pytest.raises(InputError, match="exported by dgm_tf"):
        dgm_tf.load_exported(copy)


def test_a_sample_goes_to_a_file_that_says_png(tmp_path):
    with pytest.raises(InputError, match="expected a PNG file for --out, received g.jpg"):
        memory_use.sample(tmp_path, out="g.jpg")


def test_a_sample_is_a_grid_of_the_classes_asked_for(folder, generator, tmp_path):
    said = memory_use.sample(
        folder, labels=("5", "one"), count=3, out=tmp_path / "grid.png", seed=2
    )
    assert said == f"6 images of five, one: {tmp_path / 'grid.png'}"
    images = generator.generate([5, 5, 5, 1, 1, 1], seed=2)
    names = ["five"] * 3 + ["one"] * 3
    pictures.sample_grid(images, 3, tmp_path / "expected.png", labels=names)
    assert (tmp_path / "grid.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    memory_use.sample(folder, count=20, out=tmp_path / "all.png")
    with Image.open(tmp_path / "all.png") as grid:
        assert grid.height == 10 * (16 * 2 + 2) + 2  # two rows a class


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"labels": ("nine",)}, "class nine has not been learnt"),
        ({"count": 0}, "--count"),
        ({"seed": -1}, "--seed"),
        ({"memory": "/nowhere"}, "/nowhere is none of them"),
    ],
)
def test_what_cannot_be_generated_is_said(folder, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        memory_use.sample(**{"memory": folder, "out": tmp_path / "grid.png", **wrong})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "noise", ["text", [["a"] * LATENT], [[0.0], [0.0, 1.0]], {"a": 1}, object()]
)
def test_noise_that_is_no_numbers_is_an_input_error(generator, noise):
    with pytest.raises(InputError, match=rf"expected noise as numbers \[N, {LATENT}\], received"):
        generator.generate_from_noise([3], noise)
