"""Accuracy of DGM by its training budget, on data that have no preset.

Prints rows of the tables in README.md, one for each number of consolidation steps:

    python -m studies.budget.budget --data=letters --change=steps=300 --consolidation_steps 200 600
"""

import argparse
import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import dgm_tf
from studies.accuracy.retrain import Retrained, read_changes

_PHOTOGRAPHS = ("airplane", "automobile", "frog", "horse")
_GARMENTS = (0, 1, 4, 5, 8)
_LETTERS = "AEKRS"
_FONTS = "STIXGeneral STIXGeneralBol STIXGeneralItalic cmr10 cmss10 cmtt10 cmb10".split()


def photographs() -> dgm_tf.TaskStream:
    """A folder of 32x32 colour photographs: 390 a class to learn, 210 held out, 400 to test."""
    data = dgm_tf.load_data("cifar10")
    with tempfile.TemporaryDirectory() as root:
        for name in _PHOTOGRAPHS:
            folder = pathlib.Path(root, name)
            folder.mkdir()
            rows = np.flatnonzero(data.train_labels == data.class_names.index(name))[:1000]
            for number, row in enumerate(rows):
                Image.fromarray(data.train_images[row]).save(folder / f"{number:04}.png")
        images = dgm_tf.from_folder(root, test_fraction=0.4)
    return dgm_tf.class_incremental(images, validation_fraction=0.35)


def letters() -> dgm_tf.TaskStream:
    """Distorted, noisy grey letters at 24x24: 100 a class to learn, 200 held out, 300 to test."""
    folder = pathlib.Path(matplotlib.get_data_path(), "fonts/ttf")
    files = sorted(file for file in folder.glob("DejaVu*.ttf") if "Display" not in file.name)
    files += [folder / f"{name}.ttf" for name in _FONTS]
    fonts = [ImageFont.truetype(str(file), 44) for file in files]
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(len(_LETTERS)), 300)
    train, test = (
        np.stack([_letter(_LETTERS[label], fonts, random) for label in labels]) for _ in range(2)
    )
    images = dgm_tf.from_arrays(
        train, labels, test_images=test, test_labels=labels, class_names=list(_LETTERS)
    )
    return dgm_tf.class_incremental(images, validation_fraction=2 / 3, image_size=24)


def _letter(text: str, fonts: list, random: np.random.Generator) -> np.ndarray:
    """uint8 [32, 32]: a letter of a random font, turned, sheared, shifted, in random greys."""
    image = Image.new("L", (64, 64), 0)
    font = fonts[random.integers(len(fonts))]
    ImageDraw.Draw(image).text((32, 32), text, fill=255, font=font, anchor="mm")
    turn = random.uniform(-0.3, 0.3)
    (wide, high), shear = random.uniform(0.8, 1.25, 2), random.uniform(-0.25, 0.25)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = turned @ np.array([[wide, shear], [0, high]])
    offset = np.array([32, 32]) - matrix @ (np.array([32, 32]) + random.uniform(-5, 5, 2))
    affine = (*matrix[0], offset[0], *matrix[1], offset[1])
    image = image.transform(
        (64, 64), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    ).resize((32, 32), Image.Resampling.BOX)
    dark, bright = random.uniform(0, 80), random.uniform(150, 255)
    pixels = dark + np.asarray(image, float) / 255 * (bright - dark)
    return np.clip(pixels + random.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)


def garments() -> dgm_tf.TaskStream:
    """Five of Fashion-MNIST's classes: 80 images each to learn, 240 held out, 300 to test."""
    data = dgm_tf.load_data("fashion_mnist")
    train = _some(data.train_images, data.train_labels, _GARMENTS, 320)
    test = _some(data.test_images, data.test_labels, _GARMENTS, 300)
    return dgm_tf.class_incremental((*train, *test), validation_fraction=0.75)


def _some(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first images of some classes, which become 0, 1, 2, ..."""
    rows = [np.flatnonzero(labels == label)[:count] for label in classes]
    return images[np.concatenate(rows)], np.repeat(np.arange(len(classes)), count)


def handwriting() -> dgm_tf.TaskStream:
    """All ten of MNIST's digits, at 16x16: 420 images each to learn, 180 held out, 200 to test."""
    data = dgm_tf.load_data("mnist")
    train = _some(data.train_images, data.train_labels, range(10), 600)
    test = _some(data.test_images, data.test_labels, range(10), 200)
    return dgm_tf.class_incremental((*train, *test), validation_fraction=0.3, image_size=16)


def numerals() -> dgm_tf.TaskStream:
    """The digits of `handwriting` on photographs, in colour at 32x32, as MNIST-M's are made.

    Each pixel is the difference of the digit and a patch of a photograph (Ganin et al. 2016).
    """
    digits, photos = dgm_tf.load_data("mnist"), dgm_tf.load_data("cifar10").train_images
    random = np.random.default_rng(5)

    def on_photographs(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grounds = photos[random.integers(len(photos), size=len(images))]
        large = [np.asarray(Image.fromarray(each).resize((32, 32))) for each in images[..., 0]]
        differences = grounds.astype(int) - np.stack(large)[..., np.newaxis]
        return np.abs(differences).astype(np.uint8), labels

    train = on_photographs(*_some(digits.train_images, digits.train_labels, range(10), 600))
    test = on_photographs(*_some(digits.test_images, digits.test_labels, range(10), 200))
    return dgm_tf.class_incremental((*train, *test), validation_fraction=0.3)


_STREAMS = {each.__name__: each for each in (photographs, letters, garments, handwriting, numerals)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=_STREAMS, required=True)
    parser.add_argument("--change", help="NAME=VALUE,... of settings")
    parser.add_argument(
        "--consolidation_steps", type=int, nargs="+", default=[200], help="per task; a row for each"
    )
    flags = parser.parse_args()
    stream, (first, *rest) = _STREAMS[flags.data](), flags.consolidation_steps
    changes = read_changes(flags.change) if flags.change else {}
    model = dgm_tf.DGM(**changes, consolidation_steps=first)
    # No generated image depends on the classifier: the others train theirs on the same generators.
    others = [
        Retrained(
            dataclasses.replace(model.settings, consolidation_steps=steps),
            lambda task: model.generator,
        )
        for steps in rest
    ]
    for task in stream:
        for learner in (model, *others):
            learner.learn(task, verbose=0)
    for learner in (model, *others):
        held_out = learner.evaluate(stream.seen_validation(len(stream))).average_accuracy
        test = learner.evaluate(stream.seen_test(len(stream)))
        found = (held_out, test.average_accuracy, min(test.class_accuracy.values()))
        row = [flags.data, flags.change or "", str(learner.settings.consolidation_steps)]
        print("|", " | ".join([*row, *(f"{100 * each:.1f}" for each in found)]), "|", flush=True)


if __name__ == "__main__":
    main()
