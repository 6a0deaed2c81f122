"""A stream without an end: classes come as folders of images, whenever there are new ones.

A class is told from others by the name of its folder, an image by its content: neither names nor
order of the files decide about anything.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.data import folder_scan, image_file
from dgm_tf.data.image_file import GEOMETRY, GREY, RGB
from dgm_tf.data.image_folder import (
    TEST_FRACTION,
    ClassImages,
    check_two,
    read_all,
    told_copies,
    told_learnt,
)
from dgm_tf.data.pixels import to_float
from dgm_tf.data.task import Task, task_title, told_repeated, untuned
from dgm_tf.errors import InputError
from dgm_tf.runs.run_format import OPEN

_EVALUATED = 256  # test images in a batch


class OpenStream:
    """The stream of a memory that is never finished.

    What its tasks are depends on the classes that the memory knows; `begin` is told them.

    Attributes:
        name: of the memory.
        image_shape: (S, S, C) of the images that the networks see.
        colours: `image_file.GREY` or `RGB`.
        class_names: names by class id, which is the place in the order of arrival; those of classes
            that are still to be learnt from `images`, too.
        new: names of the classes of each task that is left.
        known: subfolders of `images` whose names the memory knows.
        remarks: lines to be told before the first task.

    Args:
        images: folder with one subfolder of images per class, or with folders train and test that
            have them.
        name: of the memory, which does not change any more.
        image_size: side S.
        colours: None looks at all images: only if each is grey the memory is.
        seed: the learner's, for the record.
        together: all new classes are one task; else each is one.
        test_images: folder with a subfolder of test images per class; None for a part of `images`.
        test_fraction: fraction of a class's images that is that part; None for a fifth.
        least: images of a class that a pass over its task has at least: fewer are repeated.
        follow_links: take links that lead out of a folder, too.

    Raises:
        InputError: a folder cannot be read, or has no class.
    """

    def __init__(
        self,
        images: str | pathlib.Path,
        *,
        name: str,
        image_size: int,
        colours: str | None,
        seed: int,
        together: bool = False,
        test_images: str | pathlib.Path | None = None,
        test_fraction: float | None = None,
        least: int = 1,
        follow_links: bool = False,
    ) -> None:
        self._size = _checks.image_size(image_size)
        fraction = TEST_FRACTION if test_fraction is None else test_fraction
        self._fraction = _checks.fraction(fraction, "test_fraction", zero=False)
        self.name, self.seed, self._together, self._least = name, seed, together, least
        found = folder_scan.parts(images, test_images, follow_links=follow_links)
        self._files, self._test_files, self._scanned = found.train, found.test, found.remarks
        if test_fraction is not None and found.test is not None:
            raise InputError(
                "there is a folder of test images, so that --test_fraction means nothing: leave it "
                "out"
            )
        self._read: dict[str, ClassImages] = {}
        self.colours = colours or self._colours_of_all()
        self.image_shape = (self._size, self._size, 1 if self.colours == GREY else 3)
        self.class_names: tuple[str, ...] = ()
        self.known: list[str] = []
        self.remarks: list[str] = []
        self._done: list[Mapping[str, Any]] = []
        self.new: list[list[str]] = []
        self._tests: dict[int, np.ndarray] = {}

    def _colours_of_all(self) -> str:
        """Reads every class, which a first task is going to need anyway."""
        self._read = read_all(self._files, self._size)
        grey = [image_file.is_grey(each.images) for each in self._read.values()]
        return GREY if all(grey) else RGB

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Finds the tasks that are left for a memory that knows some classes.

        Args:
            rows: the memory's, of metrics.jsonl.

        Raises:
            InputError: an image of a new class cannot be read, or a class has too few.
        """
        self._done, self.remarks = list(rows), [*self._scanned]
        known = [name for row in rows for name in row["class_names"]]
        new = [name for name in self._files if name not in known]
        self.known = [name for name in self._files if name in known]
        self.class_names = (*known, *new)
        self.new = [new] if self._together and new else [[name] for name in new]
        unread = {name: self._files[name] for name in new if name not in self._read}
        self._read |= read_all(unread, self._size)
        self.remarks += told_copies({name: self._read[name] for name in new})
        for name in new:
            self._check(name)
        self._find_tests()

    def _check(self, name: str) -> None:
        found = self._read[name]
        count = len(found.digests)
        if self._test_files is None:
            check_two(name, found)
        coloured = sum(not image_file.is_grey(image) for image in found.images)
        if self.colours == GREY and coloured:
            self.remarks.append(
                f"{coloured} of {count} images of {name} are coloured; this memory is grey, as its "
                "first images were, and learns them as grey"
            )
        train, _ = found.divided(self._limit(name))
        if line := told_repeated(name, len(train.digests), self._least):
            self.remarks.append(line)

    def _limit(self, name: str) -> str:
        """Digest up to which images of a new class are held out; "" holds out none."""
        return "" if self._test_files is not None else self._read[name].held_out(self._fraction)

    # Tasks.

    def __len__(self) -> int:
        return len(self._done) + len(self.new)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.image_shape))
        return (
            f"<OpenStream {self.name}: {len(self._done)} tasks learnt, {len(self.new)} to come, "
            f"images {size}>"
        )

    def tasks(self, start: int = 1, *, last: int | None = None) -> Iterator[Task]:
        """Yields the tasks from `start` to `last`, each closed when the next one begins."""
        for index in range(start, (last or len(self)) + 1):
            task = self._opened(index)
            yield task
            task.close()
            for name in task.class_names:
                self._read.pop(name, None)

    def _opened(self, index: int) -> Task:
        names = self.new[index - len(self._done) - 1]
        parts = [self._learnt(name) for name in names]
        ids = [self.class_names.index(name) for name in names]
        labels = np.repeat(np.array(ids, np.int32), [*map(len, parts)])
        return Task(
            task_title(f"{index} of {len(self)}", names),
            index,
            dict(zip(ids, names, strict=True)),
            self.image_shape,
            train=(np.concatenate(parts), labels),
            validation=(np.empty((0, *self.image_shape), np.uint8), np.empty(0, np.int32)),
            least=self._least,
        )

    def _learnt(self, name: str) -> np.ndarray:
        """Training images of a class uint8 [N, S, S, C]."""
        train, _ = self._read[name].divided(self._limit(name))
        return image_file.in_colours(train.images, self.image_shape[-1])

    def told(self, task: Task) -> dict[str, Any]:
        """What a task's row says of its images.

        `fingerprints` of the images of each class, and by class id `held_out`, the digest up to
        which images were held out; empty where all were learnt.
        """
        limits = {name: self._limit(name) for name in task.class_names}
        trains = [self._read[name].divided(limits[name])[0] for name in task.class_names]
        return {
            "fingerprints": [train.fingerprint() for train in trains],
            "held_out": dict(zip(task.classes, limits.values(), strict=True)),
        }

    # Test images.

    def _find_tests(self) -> None:
        """Test images uint8 [N, S, S, C] by class id, of the classes that have some at hand."""
        found = self._given_tests() if self._test_files is not None else self._own_tests()
        ids = {name: label for label, name in enumerate(self.class_names)}
        self._tests = {
            ids[name]: image_file.in_colours(each.images, self.image_shape[-1])
            for name, each in sorted(found.items(), key=lambda item: ids[item[0]])
            if len(each.images)
        }

    def _given_tests(self) -> dict[str, ClassImages]:
        files = {name: self._test_files.get(name, []) for name in self.class_names}
        tests = read_all(files, self._size)
        new = {name: each for name, each in self._read.items() if name not in self.known}
        self.remarks += [*told_copies(tests, "test images"), *told_learnt(new, tests)]
        learnt = {
            name: fingerprint
            for row in self._done
            for name, fingerprint in zip(row["class_names"], row["fingerprints"], strict=True)
        }
        limits = self._known_limits()
        if again := [
            name
            for name, fingerprint in learnt.items()
            if name in tests and tests[name].divided(limits[name])[0].fingerprint() == fingerprint
        ]:
            listed = _checks.listed(again)
            self.remarks.append(f"test images that are those learnt, of classes known: {listed}")
        if unknown := [name for name in self._test_files if name not in files]:
            listed = _checks.listed(unknown)
            self.remarks.append(f"test images of classes not learnt are passed over: {listed}")
        return tests

    def _known_limits(self) -> dict[str, str]:
        """By known class the digest up to which images were held out."""
        limits = {int(key): limit for row in self._done for key, limit in row["held_out"].items()}
        return {self.class_names[label]: limit for label, limit in limits.items()}

    def _own_tests(self) -> dict[str, ClassImages]:
        """The held-out parts of classes whose images are at hand."""
        up_to = self._known_limits()
        tests = {}
        for name, files in self._files.items():
            if name not in self.known:
                tests[name] = self._read[name].divided(self._limit(name))[1]
                continue
            try:
                tests |= read_all({name: files}, self._size, up_to=up_to)
            except InputError as error:  # No reason not to learn a new class.
                self.remarks.append(f"{name} is not measured: {error}")
        return tests

    def seen_test(self, task: Task | int) -> tf.data.Dataset | None:
        """Test images at hand of the classes seen up to a task; None where there are none.

        Args:
            task: a task of this stream, or its number.

        Returns:
            Pairs of images, float32 [B, S, S, C] in [-1, 1], and class ids, int32 [B].
        """
        index = task.index if isinstance(task, Task) else task
        tasks = [*(row["class_names"] for row in self._done), *self.new][:index]
        seen = sum(map(len, tasks))
        tests = {label: images for label, images in self._tests.items() if label < seen}
        if not tests:
            return None
        images = np.concatenate([*tests.values()])
        labels = np.repeat(np.array([*tests], np.int32), [*map(len, tests.values())])
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(_EVALUATED)
        return untuned(batches.map(lambda pixels, ids: (to_float(pixels, self._size), ids)))

    # Description.

    @property
    def example(self) -> pathlib.Path:
        """An image of a class that is at hand."""
        return next(files[0] for files in reversed(self._files.values()) if files)

    @property
    def scenario(self) -> str:
        """One line that belongs next to every number measured on this stream."""
        return (
            f"class-incremental, an open memory called {self.name}, single head, {self.colours} "
            f"images of {self._size}x{self._size} from folders, one per class"
        )

    def describe(self) -> dict[str, Any]:
        """All that stays the same for as long as the memory grows, JSON-able."""
        return {
            "kind": OPEN,
            "name": self.name,
            "scenario": self.scenario,
            "image_shape": list(self.image_shape),
            "colours": self.colours,
            "geometry": GEOMETRY,
            "validation_fraction": 0.0,
            "seed": self.seed,
        }
