"""The files of a folder of images: which class each belongs to, and what is passed over.

A subfolder is a class, and what lies in folders below it belongs to it, too. Folders called train
and test, with the classes in them, are a split that their owner has made.
"""

import collections
import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dgm_tf import _checks
from dgm_tf.data import image_file
from dgm_tf.errors import InputError
from dgm_tf.storage import paths

Files = dict[str, list[pathlib.Path]]  # by class

# Made by systems, disks, servers and tools, not by the owner of the images.
_OF_THE_SYSTEM = frozenset(
    (
        "__macosx", "__pycache__", "lost+found", "@eadir", "@recycle", "@recently-snapshot",
        "#recycle", "#snapshot", "$recycle.bin", "found.000",
        "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
        "network trash folder", "temporary items",
    )
)  # fmt: skip
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "eval", "dev")  # the first is taken
_HIDDEN, _DEAD = "hidden or of the system", "dead links"
_OUTSIDE = "images in no class's folder"
_DEEPEST = 4  # folders below one that is looked at for images: links may lead in a circle


@dataclasses.dataclass
class Scan:
    """The image files of a folder with a subfolder per class.

    Attributes:
        folder: the folder.
        classes: files by the name of their class, in the order of `natural`.
        passed_over: how many entries were passed over, by the reason.
        nested: images that lie in folders below their class's.
        empty: names of subfolders without a file.
    """

    folder: pathlib.Path
    classes: Files
    passed_over: collections.Counter[str]
    nested: int
    empty: list[str]


@dataclasses.dataclass(frozen=True)
class Parts:
    """Image files to learn from and to test with.

    Attributes:
        train: by class.
        test: by class; None where a part of the others is held out for tests.
        remarks: lines on what was taken and what was not; empty where all is plain.
        passed_over: number of entries that were passed over, hidden ones not counted.
    """

    train: Files
    test: Files | None
    remarks: list[str]
    passed_over: int


def parts(
    path: str | os.PathLike[str],
    test_images: str | os.PathLike[str] | None = None,
    *,
    follow_links: bool = False,
) -> Parts:
    """The image files of a user's own folder.

    Args:
        path: the folder. It has a subfolder per class, or folders train and test (also val) that
            have one each.
        test_images: another folder, of test images.
        follow_links: take links that lead out of the folder, too.

    Raises:
        InputError: no folder, or one without a class or whose classes cannot be told; a name that
            is no text; or a link out of the folder.
    """
    folder, remarks = paths.expanded(path), []
    split = _split(folder, follow_links)
    if split is None:
        train, test = scan(folder, follow_links=follow_links), None
    else:
        train, test, line = split
        remarks.append(line)
    _check_classes(train)
    if test_images is not None:
        test = _test_of(paths.expanded(test_images), follow_links)
        if split is not None:
            remarks = [f"training images from {train.folder}, test images from {test.folder}"]
    scans = [train, *([test] if test else [])]
    for each in scans:
        remarks += _remarks(each)
    count = sum(each.passed_over.total() - each.passed_over[_HIDDEN] for each in scans)
    if not train.classes:
        also = "".join(f"; {line}" for line in remarks)
        raise InputError(
            f"{str(folder)!r} must have a subfolder of images per class, it has none{also}"
        )
    return Parts(train.classes, test.classes if test else None, remarks, count)


def _test_of(folder: pathlib.Path, follow_links: bool) -> Scan:
    split = _split(folder, follow_links)
    return (split and split[1]) or scan(folder, follow_links=follow_links)


def _remarks(found: Scan) -> list[str]:
    folder, lines = _checks.one_line(found.folder), []
    count = sum(map(len, found.classes.values()))
    if found.nested:
        lines.append(
            f"{folder}: classes are its own subfolders; {found.nested} of {count} images lie in "
            "folders below"
        )
    if {*(reasons := found.passed_over)} - {_HIDDEN}:
        lines.append(f"{folder}: {count} images taken; passed over: {_counted(reasons)}")
    if found.empty:
        lines.append(f"{folder}: nothing in {_checks.listed(found.empty)}")
    return lines


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names as people do, by the numbers in them: `-1` before `2` before `10`."""
    if re.fullmatch(r"-[0-9]+", name):
        return [(False, int(name), name)]
    pieces = re.split(r"([0-9]+)", name)
    return [(piece.isdecimal(), int(piece) if piece.isdecimal() else 0, piece) for piece in pieces]


def scan(
    path: str | os.PathLike[str],
    *,
    follow_links: bool = False,
    root: pathlib.Path | None = None,
) -> Scan:
    """The image files of each subfolder of a folder.

    Args:
        path: the folder.
        follow_links: take links that lead out of `root`, too.
        root: the folder that links may not leave; None for `path`.

    Raises:
        InputError: no folder, a name that is no text, two that are one (NFC), a class without
            an image, or a link out of the folder.
    """
    folder = pathlib.Path(path)
    walk = _Walk(folder, None if follow_links else (root or folder).resolve())
    try:
        if not folder.is_dir():
            raise InputError(
                f"{str(folder)!r} is no folder: name one that has a subfolder of images per class"
            )
        return walk.classes()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        place = getattr(error, "filename", None) or folder
        raise InputError(
            f"{_checks.one_line(repr(str(place)))} cannot be listed: {_checks.reason(error)}; make "
            "it readable, or move it away"
        ) from error


class _Walk:
    """One look at all entries of a folder.

    Args:
        folder: the folder.
        bounds: the resolved folder that links may not leave; None lets them.
    """

    def __init__(self, folder: pathlib.Path, bounds: pathlib.Path | None) -> None:
        self._folder, self._bounds = folder, bounds
        self._passed_over: collections.Counter[str] = collections.Counter()
        self._nested = 0

    def classes(self) -> Scan:
        classes: Files = {}
        empty = []
        for entry in self._entries(self._folder):
            if not entry.is_dir():
                self._count(entry, _OUTSIDE if _is_image(entry) else None)
                continue
            self._check_bounds(entry)
            if (name := class_name(entry.name)) in classes:
                raise InputError(
                    f"{str(self._folder)!r} has two subfolders called {name}, in two forms of "
                    "Unicode: put their images together"
                )
            before = self._passed_over.copy()
            files = sorted(self._below(entry, entry, frozenset({self._folder.resolve()})))
            others = self._passed_over - before
            del others[_HIDDEN]
            if files:
                classes[name] = files
            elif others:
                raise _no_image(entry, others)
            else:
                empty.append(name)
        return Scan(self._folder, classes, self._passed_over, self._nested, empty)

    def _below(
        self, place: pathlib.Path, top: pathlib.Path, above: frozenset[pathlib.Path]
    ) -> Iterator[pathlib.Path]:
        """The images in a folder and in those below it; none where it links to one above."""
        here = place.resolve()
        if here in above:
            return
        for entry in self._entries(place):
            if entry.is_dir():
                self._check_bounds(entry)
                yield from self._below(entry, top, above | {here})
            elif _is_image(entry):
                self._check_bounds(entry)
                self._nested += place != top
                yield entry
            else:
                self._count(entry, None)

    def _entries(self, place: pathlib.Path) -> Iterator[pathlib.Path]:
        for entry in sorted(place.iterdir(), key=lambda entry: natural(entry.name)):
            if _is_of_the_system(entry):
                self._passed_over[_HIDDEN] += 1
            else:
                yield entry

    def _count(self, entry: pathlib.Path, reason: str | None) -> None:
        if reason is None:
            reason = _ending(entry)
            if not entry.is_file():
                reason = _DEAD if entry.is_symlink() else "no files"
        self._passed_over[reason] += 1

    def _check_bounds(self, entry: pathlib.Path) -> None:
        if self._bounds is not None and not entry.resolve().is_relative_to(self._bounds):
            raise InputError(
                f"{_checks.one_line(repr(str(entry)))} is a link that leaves the folder "
                f"{str(self._folder)!r}: put a copy in its place, or allow such links by "
                "--follow_links (follow_links=True) if all images are your own"
            )


def _is_of_the_system(entry: pathlib.Path) -> bool:
    return entry.name.startswith(".") or entry.name.lower() in _OF_THE_SYSTEM


def _is_image(file: pathlib.Path) -> bool:
    return file.is_file() and image_file.is_image(file)


def _ending(file: pathlib.Path) -> str:
    return _checks.one_line(file.suffix.lower(), 20) or "without an ending"


def _no_image(place: pathlib.Path, others: Mapping[str, int]) -> InputError:
    return InputError(
        f"class folder {str(place)!r} must hold images, got {_counted(others)}; images are files "
        f"called {', '.join(image_file.endings())}: convert its files, or move it away"
    )


def class_name(name: str) -> str:
    """A folder's name, fit to be the name of a class or of the data in reports and in JSON.

    Raises:
        InputError: it is not fit.
    """
    if not _checks.is_line(text := _checks.name_of(name)):
        raise InputError(
            f"the name of folder {name!r} must be text of one line of at most "
            f"{_checks.LINE_LIMIT} characters: rename it"
        )
    return text


# What the folders are: classes, or parts of a split.


def _split(folder: pathlib.Path, follow_links: bool) -> tuple[Scan, Scan | None, str] | None:
    """The parts of a folder that has train and test folders, and a line on them; else None."""
    try:
        found = [entry for entry in folder.iterdir() if entry.is_dir()]
        trains = [entry.name for entry in found if entry.name.casefold() in _TRAIN]
        tests = [each.name for kind in _TEST for each in found if each.name.casefold() == kind]
        if not trains and not tests:
            return None
        holds = {entry.name: _holds(entry) for entry in found}
    except OSError:
        return None  # `scan` says why
    held = {name for name in holds if any(holds[name])}
    others = held - {*trains, *tests}
    classes = [name for name in trains if holds[name].below]
    if others and all(holds[name].itself or name not in held for name in (*trains, *tests)):
        return None  # They are classes, of trains or of tests.
    if not trains and (others or len(held) < 2):
        return None
    what = f"{str(folder)!r} holds {_checks.listed(sorted(held))}"
    if not classes:
        raise InputError(
            f"{what}, none of which has training images in a folder per class: make it "
            "train/<class>/"
        )
    if others or len(classes) > 1:
        raise InputError(
            f"{what}, of which some are parts and others may be classes: name the folder of each "
            "part by --images and --test_images"
        )
    open_part = functools.partial(scan, follow_links=follow_links, root=folder)
    tested = [name for name in tests if holds[name].below]
    left = [name for name in tests if name in held and name not in tested[:1]]
    line = f"{_checks.one_line(folder)}: training images from {classes[0]}, test images "
    line += f"from {tested[0]}" if tested else "are a part of them"
    if left:
        line += f"; {_checks.listed(left)} passed over"
    test = open_part(folder / tested[0]) if tested else None
    return open_part(folder / classes[0]), test, line


class _Holds(NamedTuple):
    """Whether images lie in a folder itself, and in folders below it."""

    itself: bool
    below: bool


def _holds(folder: pathlib.Path) -> _Holds:
    itself = below = False
    if _is_of_the_system(folder):
        return _Holds(itself, below)
    for place, folders, files in os.walk(folder, followlinks=True):
        deep = len(pathlib.Path(place).parts) - len(folder.parts) >= _DEEPEST
        named = [name for name in folders if not _is_of_the_system(pathlib.Path(name))]
        folders[:] = [] if deep else named
        found = any(_is_image(pathlib.Path(place, name)) for name in files)
        if place == str(folder):
            itself = found
        elif found:
            below = True
            break
    return _Holds(itself, below)


def _check_classes(found: Scan) -> None:
    """Refuses folders whose subfolders are probably no classes."""
    below = {
        name: {file.relative_to(found.folder).parts[1:-1][:1] for file in files}
        for name, files in found.classes.items()
    }
    if len(below) == 1:
        ((name, places),) = below.items()
        if len(places) > 1 and () not in places:
            inside = sorted((place[0] for place in places), key=natural)
            raise InputError(
                f"{str(found.folder)!r} has one subfolder, {name}, whose subfolders have the "
                f"images: name {str(found.folder / name)!r} if {_checks.listed(inside)} are "
                "classes, or put its images together"
            )
    for name, places in below.items():
        inside = {place[0].casefold() for place in places if place}
        if inside & {*_TRAIN} and inside & {*_TEST}:
            raise InputError(
                f"class folder {str(found.folder / name)!r} holds "
                f"{_checks.listed(sorted(inside))}: make them folders above the classes, "
                "train/<class>/ and test/<class>/"
            )


def _counted(reasons: Mapping[str, int]) -> str:
    order = sorted(reasons, key=lambda reason: -reasons[reason])
    return _checks.listed(f"{each} ({reasons[each]})" for each in order)
