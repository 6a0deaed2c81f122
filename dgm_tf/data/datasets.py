"""Sources of images: TensorFlow Datasets, arrays, the bundled digits.

Every source ends in one record, `ImageData`: uint8 images and integer labels, held in memory, for
training and for test. Only the splits `train` and `test` are ever read.
"""

import contextlib
import dataclasses
import functools
import hashlib
import http.client
import itertools
import logging
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from dgm_tf import _checks, randomness, sizes
from dgm_tf.data import division
from dgm_tf.data.division import DEFAULT_SIZE
from dgm_tf.errors import InputError
from dgm_tf.storage import paths

_log = logging.getLogger(__name__)

# Training and test images of the official splits.
_OFFICIAL_COUNTS = {
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "svhn_cropped": (73_257, 26_032),
    "cifar10": (50_000, 10_000),
}
NAMES = ("digits", *_OFFICIAL_COUNTS)

_DIGITS = tuple("0123456789")
_SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
_MAX_SVHN_IMAGES = 2**20  # its largest split, "extra", has half as many
_RECORDS_PER_READ = 1024
_PROBE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """Images with one label each, in memory.

    Attributes:
        name: short name, used in reports and as a folder's name.
        train_images: uint8 [N, H, W, C] with C 1 or 3.
        train_labels: int64 [N], class ids from 0; every class has images in both splits.
        test_images: uint8 [M, H, W, C].
        test_labels: int64 [M].
        class_names: by class id; at least two.
        source: origin of the images, one line.
        image_size: default side of the square images that the networks see.
        test_fraction: fraction of each class that was cut off for the test; 0 where the test images
            were given.
        remarks: lines on what was not taken.

    Raises:
        InputError: the arrays do not fit this description.

    Example:
        ```python
        data = dgm_tf.load_data("digits")
        print(data.train_images.shape, data.class_names)
        ```
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    image_size: int = DEFAULT_SIZE
    test_fraction: float = 0.0
    remarks: tuple[str, ...] = ()

    def __post_init__(self):
        _checks.image_size(self.image_size)
        if not _checks.is_class_name(self.name) or set(self.name) & {"/", "\\", "\0"}:
            raise InputError(
                "name must be one line that can be the name of a folder, without slashes, got "
                f"{self.name!a:.100}"
            )
        splits = (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        )
        for split, images, labels in splits:
            _check_arrays(f"{split} images of {self.name}", images, labels)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InputError(
                f"training and test images of {self.name} must have one shape, "
                f"got {self.train_images.shape[1:]} and {self.test_images.shape[1:]}"
            )
        _checks.class_names(self.class_names)
        names = tuple(map(_checks.name_of, self.class_names))
        object.__setattr__(self, "class_names", names)
        if len(self.class_names) < 2:
            raise InputError(
                f"{self.name} must have at least two classes, got {len(self.class_names)}"
            )
        if len(set(self.class_names)) < len(self.class_names):
            again = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise InputError(f"{self.name} has two classes called {again!r}: name each once")
        for split, _, labels in splits:
            _check_classes(f"{split} images of {self.name}", labels, self.class_names)

    def __repr__(self) -> str:
        height, width, channels = self.train_images.shape[1:]
        return (
            f"<ImageData {self.name}: {len(self.class_names)} classes, {len(self.train_labels)} "
            f"training and {len(self.test_labels)} test images {height}x{width}x{channels}>"
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over all images and labels."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def validation_fraction(self) -> float:
        """Default fraction of each class's training images that is held out, as in DGM's paper."""
        return division.default_validation(self.name)


def _check_arrays(what: str, images: Any, labels: Any) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise InputError(
            f"{what} must be a uint8 array with values 0 to 255, "
            f"got {getattr(images, 'dtype', type(images).__name__)}: scale and convert them first"
        )
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"{what} must have shape [N, height, width, 1 or 3 channels], got {images.shape}"
        )
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64:
        raise InputError(
            f"labels of the {what} must be an int64 array, "
            f"got {getattr(labels, 'dtype', type(labels).__name__)}"
        )
    if labels.shape != images.shape[:1]:
        raise InputError(
            f"{what} need one label each: {len(images)} images, labels of shape {labels.shape}"
        )


def _check_classes(what: str, labels: np.ndarray, class_names: Sequence[str]) -> None:
    last = len(class_names) - 1
    if labels.min() < 0 or labels.max() > last:
        raise InputError(
            f"labels of the {what} must lie in 0 to {last}, one id for each of the {last + 1} "
            f"classes, got {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels, minlength=last + 1)
    if not counts.all():
        missing = int(np.argmin(counts))
        raise InputError(
            f"every class needs {what}, there are none of class {missing} ({class_names[missing]})"
        )


def load_data(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> ImageData:
    """Loads one of the data sets that the library knows by name.

    Args:
        name: "digits" (scikit-learn's, no download), or "mnist", "fashion_mnist", "svhn_cropped",
            "cifar10" (TensorFlow Datasets).
        data_dir: folder of data prepared by TensorFlow Datasets; missing data is downloaded into
            it. None takes TFDS's own default (the environment variable TFDS_DATA_DIR, else
            ~/tensorflow_datasets). For SVHN also a folder with the original files train_32x32.mat
            and test_32x32.mat, in itself or a subfolder, which saves a download of 1.5 GB.

    Returns:
        The data, for `class_incremental`.

    Raises:
        InputError: the name is unknown, or the data can be neither found nor fetched.

    Example:
        ```python
        data = dgm_tf.load_data("digits")
        stream = dgm_tf.class_incremental(data, classes_per_task=5)
        ```
    """
    if name == "digits":
        return _load_digits()
    if name not in NAMES and isinstance(name, str) and os.path.isdir(name):
        raise InputError(
            f"{_checks.one_line(repr(name))} is a folder, a data set's name was wanted: give "
            "dgm_tf.from_folder(path), or --dataset=folder --images=DIR"
        )
    _checks.one_of("data set", name, NAMES)
    if data_dir is None:
        _check_default_folder()
        return _load_tfds(name, None)
    folder = paths.expanded(data_dir)
    if not folder.is_dir():
        raise InputError(
            f"data_dir {str(data_dir)!r} is no folder: name the folder of prepared data, or make "
            "it first if the data shall be downloaded into it"
        )
    svhn_files = _find_svhn_files(folder) if name == "svhn_cropped" else None
    return _load_svhn_files(*svhn_files) if svhn_files else _load_tfds(name, folder)


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    test_images: ArrayLike,
    test_labels: ArrayLike,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    name: str = "arrays",
) -> ImageData:
    """Takes images that are in memory, without a copy.

    The networks then see squares of `dgm_tf.sizes.default_side`, from 16 to 128 pixels, unless
    another size is asked for.

    Args:
        images: uint8 [N, H, W, C] or [N, H, W], C 1 or 3.
        labels: integers [N] or [N, 1], class ids from 0.
        test_images: as `images`.
        test_labels: as `labels`.
        class_names: names by class id, a list or a dictionary; None names each class by its id.
        name: short name of the data.

    Returns:
        The data, for `class_incremental`.

    Raises:
        InputError: the arrays are of another kind, or a class has no images.

    Example:
        ```python
        images = np.random.randint(0, 256, [40, 20, 20, 3]).astype(np.uint8)
        labels = np.repeat([0, 1], 20)
        data = dgm_tf.from_arrays(
            images, labels, test_images=images, test_labels=labels, class_names=["cat", "dog"]
        )
        stream = dgm_tf.class_incremental(data)
        ```
    """
    train = _as_images(images, "images"), _as_labels(labels, "labels")
    test = _as_images(test_images, "test_images"), _as_labels(test_labels, "test_labels")
    if class_names is None:
        highest = max((int(part.max()) for part in (train[1], test[1]) if part.size), default=-1)
        # An id far beyond the number of images is an error that `ImageData` reports; a list of
        # that many names must not be built for it.
        class_names = range(min(highest, train[1].size) + 1)
    if isinstance(class_names, Mapping):
        class_names = _by_id(class_names)
    elif isinstance(class_names, str):
        raise InputError(f"class_names must be a list of names, not the text {class_names!r}")
    names = tuple(str(text) for text in class_names)
    source = counted("arrays", train[1], test[1])
    sides = train[0].shape[1:3]
    size = sizes.default_side(*sides) if len(sides) == 2 else DEFAULT_SIZE
    return ImageData(name, *train, *test, names, source, size)


def _by_id(names: Mapping[Any, Any]) -> list[Any]:
    if set(names) != set(range(len(names))):
        raise InputError(
            "class_names by class id must have a name for each id from 0; received the ids "
            f"{_checks.listed(map(str, names))}"
        )
    return [names[label] for label in range(len(names))]


def _as_array(values: ArrayLike, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must form one array: {_checks.one_line(error)}") from error


def _as_images(images: ArrayLike, name: str) -> np.ndarray:
    images = _as_array(images, name)
    return images[..., np.newaxis] if images.ndim == 3 else images


def _as_labels(labels: ArrayLike, name: str) -> np.ndarray:
    labels = _as_array(labels, name)
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers (class ids from 0), got {labels.dtype}")
    labels = labels.astype(np.int64, copy=False)
    return labels[:, 0] if labels.shape[1:] == (1,) else labels


def counted(origin: str, train: np.ndarray, test: np.ndarray) -> str:
    """Origin of images and their numbers, for `ImageData.source`."""
    return f"{origin}, {train.size} training and {test.size} test images"


# The bundled digits.


def _load_digits() -> ImageData:
    """1,797 real images, 8x8, values 0 to 16; cut into training and test once and for all."""
    # Imported here: scikit-learn takes a second to import, and only the digits need it.
    from sklearn.datasets import load_digits

    bundle = load_digits()
    images = np.round(bundle.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)
    labels = bundle.target.astype(np.int64)
    train, test = stratified_cut(labels, 0.2, seed=0, use="digits")
    return ImageData(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=_DIGITS,
        source=counted("scikit-learn digits", train, test),
        image_size=division.default_size("digits"),
    )


def stratified_cut(
    labels: np.ndarray, fraction: float, *, seed: int, use: str
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts rows into a kept and a held-out part, each class for itself.

    The cut of a class depends only on the seed, `use` and its id. Of a class with two or more
    rows something is held out (unless `fraction` is 0), and of every class something is kept.

    Args:
        labels: integers [N], class ids from 0.
        fraction: fraction of each class to hold out, in [0, 1).
        seed: integer, 0 or more.
        use: purpose of the cut; the same seed cuts differently for another one.

    Returns:
        Row numbers (kept, held out), each int64 and ascending.
    """
    apart = []
    for class_id in np.unique(labels):
        rows = np.flatnonzero(labels == class_id)
        count = held_out(len(rows), fraction)
        # NumPy froze the stream of its legacy generator: a seed's cut stays for ever.
        shuffle = np.random.RandomState(randomness.derive(seed, use, int(class_id)))
        apart.append(shuffle.permutation(rows)[:count])
    apart = np.sort(np.concatenate(apart))
    return np.setdiff1d(np.arange(len(labels)), apart, assume_unique=True), apart


def held_out(count: int, fraction: float) -> int:
    """How many of so many images of a class a cut holds out."""
    wanted = max(round(fraction * count), 1 if fraction else 0)
    return min(wanted, count - 1)


def images_needed(batch_size: int, validation_fraction: float, test_fraction: float) -> int:
    """The fewest images of a class that leave a batch to learn from when both parts are cut off."""

    def left(count: int) -> int:
        train = count - held_out(count, test_fraction)
        return train - held_out(train, validation_fraction)

    return next(count for count in itertools.count(batch_size) if left(count) >= batch_size)


# TensorFlow Datasets.


def _check_default_folder() -> None:
    """Refuses to leave the folder to TFDS, which without a home folder makes one called `~`."""
    if os.environ.get("TFDS_DATA_DIR"):
        return
    try:
        paths.expanded("~/tensorflow_datasets")
    except InputError as error:
        raise InputError(
            "data is looked for in ~/tensorflow_datasets, and this user has no home folder: name "
            "the folder of prepared data by --data_dir or TFDS_DATA_DIR"
        ) from error


def _load_tfds(name: str, folder: pathlib.Path | None) -> ImageData:
    # Imported here: only the data sets that TFDS provides need it.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=folder)
    except Exception as error:
        raise InputError(
            f"the prepared data of {name} cannot be read: {_checks.reason(error)}; "
            "prepare it again, or name another data_dir"
        ) from error
    if not builder.info.splits:
        looked_in = builder.data_path.parent.parent  # <data_dir>/<name>/<version>
        if there := _misplaced(name, pathlib.Path(looked_in)):
            raise InputError(
                f"{name} is not in {looked_in} but in {there}: name that folder by --data_dir"
            )
        _download(name, builder)
    if str(builder.info.file_format.value) != "tfrecord":
        raise InputError(
            f"{name} in {builder.data_path} is stored as {builder.info.file_format.value}: "
            "prepare it as tfrecord, TensorFlow Datasets' default"
        )
    train, test = (_read_split(builder, split) for split in ("train", "test"))
    class_names = tuple(builder.info.features["label"].names)
    return _official(name, f"tfds {name} {builder.version}", train, test, class_names)


def _official(
    name: str,
    origin: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    class_names: tuple[str, ...],
) -> ImageData:
    """Data whose source says so where they are not the published splits."""
    source = counted(origin, train[1], test[1])
    if (train[1].size, test[1].size) != _OFFICIAL_COUNTS[name]:
        source += " (not the official {} and {})".format(*_OFFICIAL_COUNTS[name])
    return ImageData(name, *train, *test, class_names, source)


def _read_split(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [N, H, W, C], int64 [N]) of one split.

    The records are read and parsed in blocks: TFDS's own pipeline, which handles one example at a
    time, takes four times as long.
    """
    info = builder.info
    if split not in info.splits:
        raise InputError(f"{info.name} in {builder.data_path} has no split {split!r}")
    count = info.splits[split].num_examples
    images = np.empty((count, *info.features["image"].shape), np.uint8)
    labels = np.empty(count, np.int64)
    fields = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }

    def decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(records, fields)
        pixels = tf.TensorSpec(images.shape[1:], tf.uint8)
        decoded = tf.map_fn(
            info.features["image"].decode_example, parsed["image"], fn_output_signature=pixels
        )
        return decoded, parsed["label"]

    done = 0
    try:
        files = [os.fspath(path) for path in info.splits[split].filepaths]
        blocks = tf.data.TFRecordDataset(files).batch(_RECORDS_PER_READ).map(decode).prefetch(1)
        for block_images, block_labels in blocks.as_numpy_iterator():
            images[done : done + len(block_labels)] = block_images
            labels[done : done + len(block_labels)] = block_labels
            done += len(block_labels)
        if done != count:
            raise ValueError(f"{count} records were expected, {done} found")
    except (tf.errors.OpError, ValueError, OSError) as error:
        raise InputError(
            f"split {split!r} of {info.name} in {builder.data_path} is damaged: "
            f"{_checks.reason(error)}; delete that folder and prepare the data again"
        ) from error
    return images, labels


def _misplaced(name: str, folder: pathlib.Path) -> pathlib.Path | None:
    """The folder that holds prepared data, <name>/<version>, where `folder` is not that but near.

    It is one or two levels above, or one below.
    """
    folder = folder.absolute()
    near = [*folder.parents[:2]] if name in folder.parts[-2:] else []
    with contextlib.suppress(OSError):
        near += sorted(path for path in folder.iterdir() if path.name != name)
    return next((place for place in near if _versions(name, place)), None)


def _versions(name: str, folder: pathlib.Path) -> list[str]:
    """Versions of a data set that are prepared in a folder."""
    try:
        return sorted(path.parent.name for path in folder.glob(f"{name}/*/dataset_info.json"))
    except OSError:
        return []


def _download(name: str, builder: Any) -> None:
    """Lets TFDS fetch and prepare the data; says in one line why that did not work."""
    # All files of a data set lie on one host.
    if unreachable := _unreachable(next(iter(builder.url_infos))):
        raise InputError(_no_data_text(name, builder, unreachable))
    if name == "svhn_cropped":
        _log.warning(
            "TensorFlow Datasets fetches SVHN with its split 'extra', which is not used here: "
            "1.5 GB in all. A data_dir that holds %s and %s (245 MB) saves the download.",
            *_SVHN_FILES,
        )
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise InputError(_no_data_text(name, builder, _checks.reason(error))) from error


def _unreachable(url: str) -> str | None:
    """The reason why an address does not answer, or None if it does.

    Where there is no network TFDS retries for minutes; this takes seconds.
    """
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None  # The server answered; what it says is for TFDS to judge.
    except (OSError, ValueError, http.client.HTTPException) as error:
        host = urllib.parse.urlsplit(url).hostname
        why = getattr(error, "reason", error)  # of urllib, a text or one more error
        return f"{host} cannot be reached, {_checks.reason(why)}"


def _no_data_text(name: str, builder: Any, reason: str) -> str:
    folder = builder.data_path.parent.parent  # <data_dir>/<name>/<version>
    files = f", or the files {' and '.join(_SVHN_FILES)}," if name == "svhn_cropped" else ""
    others = ", ".join(_versions(name, folder))
    missing = f"{name} is not in {folder}"
    if others:
        missing = f"{name} is in {folder} in version {others}, {builder.version} is wanted,"
    return (
        f"{missing} and cannot be fetched ({reason}); give --data_dir a folder with the data as "
        f"TensorFlow Datasets prepares it{files} or take 'digits', which needs no download"
    )


# SVHN's original files.


def _find_svhn_files(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    try:
        places = (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))
    except OSError as error:
        why = _checks.reason(error)
        raise InputError(f"data_dir {str(folder)!r} cannot be listed: {why}") from error
    for place in places:
        train, test = (place / file for file in _SVHN_FILES)
        if train.is_file() and test.is_file():
            return train, test
    return None


def _load_svhn_files(train: pathlib.Path, test: pathlib.Path) -> ImageData:
    parts = _read_svhn_file(train), _read_svhn_file(test)
    return _official("svhn_cropped", "SVHN's original files", *parts, _DIGITS)


def _read_svhn_file(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [N, 32, 32, 3], int64 [N]); the file's label 10 is the digit 0."""
    import scipy.io

    try:
        declared = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        count = int(np.prod(declared["y"]))
        if declared["X"] != (32, 32, 3, count) or count > _MAX_SVHN_IMAGES:
            raise ValueError(f"X would be {declared['X']}, y {declared['y']}")
        # Named variables only: MATLAB objects of any other kind stay unread.
        content = scipy.io.loadmat(path, variable_names=("X", "y"))
        pixels, labels = content["X"], content["y"].reshape(-1)
        if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)):
            raise ValueError(f"X is {pixels.dtype} {pixels.shape}, y has {len(labels)} labels")
    except Exception as error:
        raise InputError(
            f"{path} is not one of SVHN's original files of cropped digits: {_checks.reason(error)}"
        ) from error
    return np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)), labels.astype(np.int64) % 10
