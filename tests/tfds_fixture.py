"""Small data sets in the on-disk format of TensorFlow Datasets, written by its own writer."""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

VERSIONS = {"mnist": "3.0.1", "fashion_mnist": "3.0.1", "svhn_cropped": "3.1.0", "cifar10": "3.0.2"}
SHAPES = {
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "svhn_cropped": (32, 32, 3),
    "cifar10": (32, 32, 3),
}
WITH_ID = ("svhn_cropped", "cifar10")


def small_split(name: str, per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels (uint8 [10 * per_class, H, W, C]) and labels 0 to 9 in turn (int64)."""
    labels = np.arange(10 * per_class) % 10
    pixels = np.random.RandomState(seed).randint(0, 256, (len(labels), *SHAPES[name]))
    return pixels.astype(np.uint8), labels


def write(
    name: str, data_dir: pathlib.Path, splits: dict[str, tuple[np.ndarray, np.ndarray]]
) -> pathlib.Path:
    """Writes `<data_dir>/<name>/<version>` and returns that folder."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=SHAPES[name]),
            "label": tfds.features.ClassLabel(num_classes=10),
            **({"id": tfds.features.Text()} if name in WITH_ID else {}),
        }
    )
    tfds.disable_progress_bar()
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=VERSIONS[name],
        features=features,
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(_examples(name, split, *arrays))
            for split, arrays in splits.items()
        },
        data_dir=data_dir,
        disable_shuffling=True,
    )
    return pathlib.Path(builder.data_path)


def _examples(name: str, split: str, images: np.ndarray, labels: np.ndarray) -> dict:
    examples = {"image": images, "label": labels}
    if name in WITH_ID:
        examples["id"] = [f"{split}_{row:06d}" for row in range(len(labels))]
    return examples


def write_small(
    name: str, data_dir: pathlib.Path, *, train_per_class: int = 6, test_per_class: int = 2
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes a small stand-in of the data set `name` and returns what was written."""
    splits = {
        "train": small_split(name, train_per_class, seed=1),
        "test": small_split(name, test_per_class, seed=2),
    }
    write(name, data_dir, splits)
    return splits
