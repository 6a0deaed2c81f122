"""An export generates the learner's own images to the last bit, however they are asked for."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dgm_tf import randomness
from dgm_tf.errors import InputError
from dgm_tf.evaluation.memory_audit import recorded
from dgm_tf.learners.dgm import DGM, TaskMemory
from dgm_tf.reporting import pictures
from dgm_tf.serving import export as exporting
from tests.layers.layer_check import bits
from tests.networks.tiny_generator import FORMS, after
from tests.run_content import files
from tests.serving.tiny_export import LABELS, LATENT, NAMES, TASKS, exported, learner

variants = pytest.mark.parametrize("variant", ["w", "a"])
forms = pytest.mark.parametrize("form", FORMS)
CLASSES = [label for classes in TASKS for label in classes]


@pytest.fixture(scope="module")
def exports():
    """Exports of each form: "a" with the classifier, the others without."""
    return {form: exported(form, classifier=form == "a") for form in FORMS}


@pytest.fixture(scope="module")
def loaded(exports):
    return {form: tf.saved_model.load(str(done.path)) for form, done in exports.items()}


def call(model, signature, **inputs):
    tensors = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in model.signatures[signature](**tensors).items()}


def request(labels, key, first=0):
    """Rows `first`, `first + 1`, ... of a key."""
    rows = first + np.arange(len(labels), dtype=np.int64)
    return {"labels": labels, "keys": np.full(len(labels), key), "rows": rows}


def generated(model, labels, key, first=0, signature="generate"):
    found = call(model, signature, **request(labels, key, first))
    assert found["valid"].all() and found["valid"].shape == labels.shape
    return found["images"]


def description(done):
    return json.loads((done.path / "assets" / "model.json").read_text())


def weights(done):
    """Arrays in the files by name."""
    reader = tf.train.load_checkpoint(str(done.path / "variables" / "variables"))
    found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


# The images.


@forms
def test_images_are_the_learners_own_to_the_last_bit(exports, loaded, form):
    own = learner(form).generate(LABELS, seed=7)
    key = randomness.key(7, "generate")
    np.testing.assert_array_equal(bits(generated(loaded[form], LABELS, key)), bits(own))
    assert own.std(axis=(1, 2, 3)).min() > 0.05  # there is something to be seen
    default = generated(loaded[form], LABELS, key, signature="serving_default")
    np.testing.assert_array_equal(bits(default), bits(own))
    assert exports[form].audited_pixels == len(CLASSES) * 16 * 16 * 16


@forms
def test_images_from_noise_are_the_generators_own(loaded, form):
    noise = np.random.RandomState(1).normal(size=(len(LABELS), LATENT)).astype(np.float32)
    found = call(loaded[form], "generate_from_noise", labels=LABELS, noise=noise)["images"]
    generator = learner(form).generator
    for task, classes in enumerate(TASKS, start=1):
        for own, label in enumerate(classes):
            rows = LABELS == label
            own = tf.fill([rows.sum()], own)
            latent = generator.latent(tf.constant(noise[rows]), own, len(classes))
            np.testing.assert_array_equal(bits(found[rows]), bits(generator.recall(latent, task)))


@forms
def test_one_class_for_a_phone_has_the_same_images(loaded, form):
    noise = tf.random.stateless_normal([3, LATENT], seed=[1, 2])
    for label in CLASSES:
        made = loaded[form].generate_class(tf.constant(label), noise)
        labels = tf.fill([3], tf.constant(label))
        wanted = call(loaded[form], "generate_from_noise", labels=labels, noise=noise)["images"]
        np.testing.assert_allclose(made, wanted, atol=1e-6)
        assert loaded[form].generate_class(tf.constant(label), noise[:0]).shape[0] == 0
    for unknown in min(CLASSES) - 1, max(CLASSES) + 1:
        assert np.isnan(loaded[form].generate_class(tf.constant(unknown), noise)).all()


@variants
def test_a_batch_can_be_split_and_mixed_in_any_way(loaded, variant):
    labels = np.tile(LABELS, 4)  # more than the learner's rows in one product
    whole = generated(loaded[variant], labels, 11)
    for cuts in ([0, 44], [0, 1, 2, 19, 44], [0, 16, 32, 44]):
        parts = [
            generated(loaded[variant], labels[first:end], 11, first)
            for first, end in zip(cuts, cuts[1:], strict=False)
        ]
        np.testing.assert_array_equal(bits(np.concatenate(parts)), bits(whole))
    # Each image by itself, in the company of images of other classes.
    others = np.where(np.arange(44) % 2, labels, 0)
    np.testing.assert_array_equal(
        bits(generated(loaded[variant], others, 11)[1::2]), bits(whole[1::2])
    )
    assert np.any(generated(loaded[variant], labels, 12) != whole)
    assert generated(loaded[variant], labels[:0], 11).shape == (0, 16, 16, 1)


def test_a_png_holds_the_image(loaded):
    images = generated(loaded["w"], LABELS, 3)
    encoded = call(loaded["w"], "generate_png", **request(LABELS, 3))["png_bytes"]
    assert encoded.shape == LABELS.shape
    for data, image in zip(encoded, images, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(data)))[..., None]
        np.testing.assert_array_equal(pixels, pictures.to_uint8(image))


def test_a_memory_in_colour_generates_encodes_and_classifies_in_colour(tmp_path):
    own = learner("w", tasks=2, channels=3)
    model = tf.saved_model.load(str(own.export(tmp_path / "m", classifier=True).path))
    labels = np.array([5, 0, 3, 5], np.int32)
    key = randomness.key(3, "generate")
    images = generated(model, labels, key)
    assert images.shape == (4, 16, 16, 3) and np.ptp(images, axis=-1).mean() > 0.05
    np.testing.assert_array_equal(bits(images), bits(own.generate(labels, seed=3)))
    encoded = call(model, "generate_png", **request(labels, key))["png_bytes"]
    for data, image in zip(encoded, images, strict=True):
        with Image.open(io.BytesIO(data)) as png:
            assert png.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(png), pictures.to_uint8(image))
    pixels = np.random.RandomState(4).randint(0, 256, [6, 16, 16, 3]).astype(np.uint8)
    floats = pixels / np.float32(127.5) - 1
    logits = np.float64(own.classifier(floats)[1])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for signature, asked in (("classify", floats), ("classify_uint8", pixels)):
        found = call(model, signature, images=asked)
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(found["label"], own.classify(floats))
        names = [name.decode() for name in found["class_name"]]
        assert names == [NAMES[label] for label in found["label"]]


PLAIN = """
import hashlib, json, sys
import numpy as np
sys.modules["dgm_tf"] = None  # cannot be imported
import tensorflow as tf

path, out = sys.argv[1:]
model = tf.saved_model.load(path)
generate = model.signatures["generate"]
with open(model.description.asset_path.numpy()) as file:
    described = json.load(file)
def images(labels, key, first=0):
    keys = tf.fill([len(labels)], tf.constant(key, tf.int64))
    rows = tf.range(first, first + len(labels), dtype=tf.int64)
    return generate(labels=tf.constant(labels), keys=keys, rows=rows)["images"]
digests = []
for entry in described["audit"]:
    digest = hashlib.sha256()
    for label, key in zip(entry["labels"], entry["keys"]):
        digest.update(images([label] * entry["images_per_label"], key).numpy().tobytes())
    digests.append(digest.hexdigest() == entry["sha256_of_images"])
labels = [entry["label"] for entry in described["classes"]]
imported = "dgm_tf.serving.export" in sys.modules
np.savez(out, images=images(labels, 5, 2), same=digests, imported=imported)
"""


@pytest.mark.slow
@variants
def test_it_runs_and_can_be_audited_where_the_package_cannot_be_imported(
    exports, loaded, variant, tmp_path
):
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(exports[variant].path), str(tmp_path / "out.npz")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    assert found["same"].tolist() == [True] * 3 and not found["imported"]
    own = generated(loaded[variant], np.array(CLASSES, np.int32), 5, 2)
    np.testing.assert_array_equal(bits(found["images"]), bits(own))


def test_models_loaded_at_a_time_do_not_disturb_each_other(exports, loaded):
    expected = {variant: generated(loaded[variant], LABELS, 1) for variant in "wa"}
    for variant in "wa":
        again = tf.saved_model.load(str(exports[variant].path))
        np.testing.assert_array_equal(generated(again, LABELS, 1), expected[variant])
        del again
        np.testing.assert_array_equal(generated(loaded[variant], LABELS, 1), expected[variant])


# The classifier.


def test_the_probabilities_are_the_classifiers_own(loaded):
    pixels = np.random.RandomState(4).randint(0, 256, [21, 16, 16, 1]).astype(np.uint8)
    floats = pixels / np.float32(127.5) - 1
    logits = np.float64(learner("a").classifier(floats)[1])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for signature, images in (("classify", floats), ("classify_uint8", pixels)):
        found = call(loaded["a"], signature, images=images)
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        assert found["valid"].all()


def test_there_is_no_critic_unless_asked_for(exports, loaded):
    assert sorted(loaded["w"].signatures) == [
        "generate", "generate_from_noise", "generate_png", "serving_default",
    ]  # fmt: skip
    assert sorted(loaded["a"].signatures)[:2] == ["classify", "classify_uint8"]
    assert not [name for name in weights(exports["w"]) if "classifier" in name]
    held = sum(value.size for name, value in weights(exports["a"]).items() if "classifier" in name)
    critic = learner("a").classifier
    source = sum(np.prod(variable.shape) for variable in critic.source_head.weights)
    assert held == critic.count_params() - source


# What is in it.


@forms
def test_only_what_the_images_need_is_held(exports, form):
    """Weights in the union of the masks, a bit per weight and task, statistics, output layers."""
    generator = learner(form).generator
    used = [[np.arange(LATENT), *generator.used_units(task)] for task in (1, 2, 3)]
    expected = {"kernel": 0, "bits": 0, "affine": 0, "masks": 0, "head": 0, "units": 0, "cut": 0}
    for layer in range(3):
        inputs, units = (set().union(*(row[index] for row in used)) for index in (layer, layer + 1))
        taps = generator.blocks[layer].kernel_size ** 2
        expected["kernel"] += taps * len(inputs) * len(units)
        for row in used:
            expected["units"] += len(row[layer + 1])
            expected["affine"] += 2 * len(row[layer + 1])
            if generator.variant == "w":
                expected["bits"] += -(-taps * len(row[layer]) * len(row[layer + 1]) // 8)
            else:
                expected["masks"] += len(row[layer + 1])
    expected["head"] = sum(16 * len(row[3]) for row in used)
    found = dict.fromkeys(expected, 0)
    for name, value in weights(exports[form]).items():
        if any(part in name for part in ("classifier", "save_counter", "ends", "starts", "shapes")):
            continue
        (part,) = {part for part in expected if f"{part}/" in name} or {name}
        found[part] += value.size
    assert found == expected


def test_a_weight_that_no_task_uses_is_zero_in_the_files(exports):
    generator = learner("w").generator
    shared = [value for name, value in weights(exports["w"]).items() if "kernel/" in name]
    reserved = sum(int(block.reserved.numpy().sum()) for block in generator.blocks)
    assert 0 < sum(np.count_nonzero(value) for value in shared) <= reserved
    assert reserved < sum(value.size for value in shared)


class Partial:
    """A memory in which a task uses few units, as an exporter sees it."""

    name, classes_seen, class_names, task_classes = "partial", (0, 1), ("a", "b"), ((0,), (1,))

    def __init__(self, variant):
        self.generator = after(1, 1, form=variant)
        for block in self.generator.blocks:
            for task in range(2):
                mask = np.zeros_like(block.finished_mask(task + 1))
                if task and block.name != "block_2":  # the first task has no unit at all
                    mask[(..., slice(2), slice(None)) if variant == "w" else slice(2)] = True
                block.finished_masks[task][:] = np.packbits(mask.reshape(-1))
                block.norm.affine_of(task + 1)[1] = -1  # no unit is above 0 without a weight

    def generate(self, labels, *, seed=0):
        shape = [len(labels), self.generator.latent_dim]
        noise = randomness.normal(shape, randomness.pair(seed, "generate"))
        memory = TaskMemory(self.generator, exact=True)
        return np.concatenate(
            [memory.recall(int(label), row[None]) for label, row in zip(labels, noise, strict=True)]
        )

    def state(self):
        return {}, {"all": np.zeros(10_000)}


@variants
def test_units_that_no_task_uses_are_cut_away(tmp_path, variant):
    memory = Partial(variant)
    done = exporting.export(memory, tmp_path / "m")
    widths = sorted(
        max(value.shape[-2:]) for name, value in weights(done).items() if "kernel/" in name
    )
    assert widths[0] <= 2 < min(memory.generator.widths)
    model = tf.saved_model.load(str(done.path))
    labels = np.array([0, 1], np.int32)
    found = generated(model, labels, randomness.key(2, "generate"))
    np.testing.assert_array_equal(bits(found), bits(memory.generate(labels, seed=2)))


def test_the_line_for_the_log_says_what_it_takes_on_disk(exports):
    done = exports["w"]
    assert done.bytes == sum(len(content) for content in files(done.path).values())
    assert str(done) == (
        f"exported 3 tasks, without the classifier, to {done.path}: "
        f"{done.bytes / 2**20:.2f} MiB on disk; "
        f"{5 * 16 * 256} audited pixels bit-identical to the learner's"
    )


def test_the_description_travels_along(exports):
    found = description(exports["w"])
    assert found["classes"] == [
        {"label": label, "name": NAMES[label], "task": task}
        for task, classes in enumerate(TASKS, start=1)
        for label in classes
    ]
    assert found["image"] == {"shape": [16, 16, 1], "range": [-1.0, 1.0], "geometry": 1}
    assert found["noise"] == LATENT and found["learner"] == "dgm-w"
    assert found["versions"]["tensorflow"] == tf.__version__
    assert [path.name for path in exports["w"].path.iterdir()].count("model.json") == 0


@variants
def test_the_hashes_are_those_of_a_runs_memory_audit(exports, variant):
    for task, classes in enumerate(TASKS, start=1):
        record = recorded(classes, learner(variant).generate)
        entry = description(exports[variant])["audit"][task - 1]
        assert entry["sha256_of_record"] == record.digest()
        assert entry["sha256_of_images"] == hashlib.sha256(record.images.tobytes()).hexdigest()
        assert entry["labels"] == list(classes)


@pytest.mark.slow
def test_the_command_of_tensorflow_shows_the_signatures(exports):
    program = "from tensorflow.python.tools.saved_model_cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "show", "--dir", str(exports["a"].path), "--all"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = {}
    for part in done.stdout.split("signature_def['")[1:]:
        shown[part.partition("'")[0]] = " ".join(part.split())
    for name, parts in {
        "serving_default": ["inputs['labels']", "DT_INT32", "inputs['rows']", "outputs['images']"],
        "generate": ["inputs['keys']", "DT_INT64", "shape: (-1, 16, 16, 1)", "outputs['valid']"],
        "generate_from_noise": ["inputs['noise']", f"shape: (-1, {LATENT})"],
        "generate_png": ["outputs['png_bytes']", "DT_STRING"],
        "classify": ["outputs['probabilities']", "shape: (-1, 5)", "outputs['class_name']"],
        "classify_uint8": ["DT_UINT8", "shape: (-1, 16, 16, 1)", "outputs['label']"],
    }.items():
        for text in parts:
            assert text in shown[name], (name, text)


def test_nothing_learnt_is_nothing_to_export(tmp_path):
    with pytest.raises(InputError, match="call learn"):
        DGM().export(tmp_path / "m")
    assert files(tmp_path) == {}


# Where it goes.


def test_versions_are_counted_and_never_replaced(exports, tmp_path):
    name = exports["w"].path.parent
    assert exports["w"].path.name == "1" and exporting.versions_in(name) == [1]
    assert exporting.version_folder(name) == name / "2"
    assert exporting.version_folder(tmp_path / "new") == tmp_path / "new" / "1"
    assert exporting.version_folder(tmp_path / "new" / "7") == tmp_path / "new" / "7"
    with pytest.raises(InputError, match="exists and is not replaced"):
        learner("w").export(exports["w"].path)


def test_a_version_is_a_number_as_servers_write_it(exports, tmp_path):
    name = tmp_path / "m"
    shutil.copytree(exports["w"].path, name / "2")
    for other in "02", "v3", "-3", "\u0663":  # the last is an Arabic 3
        with pytest.raises(InputError, match="holds versions of an exported model, and .* is no"):
            exporting.version_folder(name / other)
    shutil.copytree(exports["w"].path, name / "009")
    assert exporting.versions_in(name) == [2]
    assert exporting.version_folder(tmp_path / "009") == tmp_path / "009" / "1"


def test_a_folder_of_something_else_gets_no_version(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="holds cat, which are no versions of an exported model"):
        learner("w").export(tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["cat"]


def test_a_version_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    seen = []

    def killed(*arguments, **options):
        saved(*arguments, **options)
        seen.extend(path.name for path in tmp_path.glob("m/*"))
        raise KeyboardInterrupt

    saved = tf.saved_model.save
    monkeypatch.setattr(tf.saved_model, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        learner("w").export(tmp_path / "m")
    # While it was written no name was there that a server could take for a version.
    assert sorted(seen) == [".1.writing", ".lock"]
    assert files(tmp_path) == {}
    assert exporting.version_folder(tmp_path / "m").name == "1"


def test_a_version_that_generates_other_images_is_not_published(tmp_path):
    class Moved(Partial):
        def generate(self, labels, *, seed=0):
            images = super().generate(labels, seed=seed)
            images.view(np.uint32)[-1, -1, -1, -1] ^= 1  # the last bit of one value
            return images

    exporting.export(Partial("w"), tmp_path / "m")
    with pytest.raises(InputError, match=r"^2 of 8192 audited pixels .*m/2 was not written"):
        exporting.export(Moved("w"), tmp_path / "m")
    assert sorted(os.listdir(tmp_path / "m")) == [".lock", "1"]


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file/m"):
        learner("w").export(tmp_path / "file" / "m")
    assert os.listdir(tmp_path) == ["file"]
