"""Accuracy of DGM by its training budget, on data that have no preset.

Prints one row of the table in README.md:

    python studies/budget/budget.py --data=letters --steps=300 --consolidation_steps=200
"""

import argparse
import dataclasses
import pathlib
import tempfile

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import dgm_tf

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

    def some(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [np.flatnonzero(labels == label)[:count] for label in _GARMENTS]
        return images[np.concatenate(rows)], np.repeat(np.arange(len(_GARMENTS)), count)

    train = some(data.train_images, data.train_labels, 320)
    test = some(data.test_images, data.test_labels, 300)
    return dgm_tf.class_incremental((*train, *test), validation_fraction=0.75)


def main() -> None:
    streams = {"photographs": photographs, "letters": letters, "garments": garments}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=streams, required=True)
    parser.add_argument("--variant", choices=("w", "a"), default="w")
    parser.add_argument("--steps", type=int, default=1200, help="of the generator, per class")
    parser.add_argument("--consolidation_steps", type=int, default=200, help="per task")
    parser.add_argument("--last_consolidation_steps", type=int, help="of the last task, if others")
    parser.add_argument("--consolidation_start", choices=("new", "previous"), default="previous")
    parser.add_argument("--critic_learning_rate", type=float, default=6e-3)
    parser.add_argument("--seed", type=int, default=0)
    flags = vars(parser.parse_args())
    stream = streams[flags["data"]]()
    last_steps = flags.pop("last_consolidation_steps") or flags["consolidation_steps"]
    model = dgm_tf.DGM(**{name: value for name, value in flags.items() if name != "data"})
    for task in stream:
        if task.index == len(stream):
            model.settings = dataclasses.replace(model.settings, consolidation_steps=last_steps)
        model.learn(task, verbose=0)
    held_out = model.evaluate(stream.seen_validation(len(stream))).average_accuracy
    test = model.evaluate(stream.seen_test(len(stream)))
    found = (held_out, test.average_accuracy, min(test.class_accuracy.values()))
    row = [*flags.values(), last_steps, *(f"{100 * accuracy:.1f}" for accuracy in found)]
    print("|", " | ".join(map(str, row)), "|")


if __name__ == "__main__":
    main()
