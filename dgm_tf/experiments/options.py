"""Options of a run, from which commands make their flags. Nothing here needs TensorFlow."""

import csv
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dgm_tf.errors import InputError
from dgm_tf.methods import settings_file
from dgm_tf.methods.presets import PRESETS, settings_for
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import DISTRIBUTIONS, setting_names
from dgm_tf.storage import paths
from dgm_tf.storage.checkpoint import DEFAULT_EVERY, Every

if TYPE_CHECKING:
    from dgm_tf.data.datasets import ImageData
    from dgm_tf.data.stream import TaskStream

FOLDER = "folder"  # name of the data set whose images come from a folder
IMAGES = "a folder with one subfolder of images per class"
OF_FOLDER = ("images", "test_images", "follow_links")  # options of that data set alone
MEMORY = "folder of a memory or of another run, or digits-demo, which comes with the package"
QUIET, TASKS, EPOCHS = 0, 1, 2  # how much a run prints
_PATHS = ("DIR", "FILE", "PATH")  # what `shown` says of an option that is a path


def option(
    text: str,
    *,
    default: Any = dataclasses.MISSING,
    shown: str = "",
    choices: Collection[Any] = (),
    parser: Callable[[str], Any] | None = None,
) -> Any:
    """Field of an options class, with all that a command-line flag needs.

    Args:
        text: its help.
        default: an option without one must be given.
        shown: name of its values in the help text; those of DIR, FILE and PATH may begin with ~.
        choices: the values allowed; empty for any.
        parser: makes a value of a text, or raises ValueError; by default the field's type decides.
    """
    if parser is None and shown in _PATHS:
        parser = paths.typed if shown == "DIR" else paths.typed_file
    metadata = {"help": text, "shown": shown, "choices": choices, "parser": parser}
    return dataclasses.field(default=default, metadata=metadata)


def integers(text: str, wanted: str = "whole numbers such as 0,1,2") -> tuple[int, ...]:
    """Numbers of a text such as "0,1,2", or a ValueError that says what is `wanted`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"expected {wanted}") from error


def texts(text: str, wanted: str = "texts such as 3,7") -> tuple[str, ...]:
    """Parts of a text such as "3,7", or a ValueError that says what is `wanted` if one is empty.

    A part with commas stands in double quotes, as in a CSV file.
    """
    try:
        (row,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"expected {wanted}") from error
    parts = tuple(map(str.strip, row))
    if not parts or not all(parts):
        raise ValueError(f"expected {wanted}")
    return parts


def classes_per_task(text: str) -> int | tuple[int, ...]:
    """A number, or one per task, of a text; or a ValueError that says what is wanted."""
    numbers = integers(text, "a whole number, or one per task such as 5,3,2")
    return numbers[0] if len(numbers) == 1 else numbers


def _class_order(text: str) -> str | tuple[str, ...]:
    return text if text == "random" else texts(text, "random, or classes such as dog,ape,cat")


def follow_links_option() -> Any:
    """The field of an option that several commands have."""
    return option(
        "also read links that lead out of the folder; only if you know who made them",
        default=False,
    )


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """Data and tasks of a run. Each field's `help` describes it.

    Raises:
        InputError: a folder of images is named without the data set `folder`, or the reverse.

    Example:

        stream = StreamOptions("digits", classes_per_task=2).open(seed=0)
    """

    dataset: str = option(
        "data set: digits, mnist, fashion_mnist, svhn_cropped, cifar10, or "
        f"{FOLDER} for the folder that --images names",
        shown="NAME",
    )
    images: str | None = option(
        f"{IMAGES}, or with folders train and test that have them", default=None, shown="DIR"
    )
    test_images: str | None = option(
        "a folder with one subfolder of test images per class; by default a fifth of the images of "
        "each class is held out for tests, chosen by content",
        default=None,
        shown="DIR",
    )
    follow_links: bool = follow_links_option()
    data_dir: str | None = option(
        "folder of data that TensorFlow Datasets has prepared; by default its own folder, into "
        "which missing data is downloaded",
        default=None,
        shown="DIR",
    )
    classes_per_task: int | Sequence[int] = option(
        "classes that arrive with a task: one number, or one for each task such as 5,3,2",
        default=1,
        shown="N|N,N,...",
        parser=classes_per_task,
    )
    class_order: str | Sequence[str | int] | None = option(
        "order in which the classes arrive: names such as dog,ape,cat, ids where no name is a "
        "number, or random, which depends on --seed; by default ascending",
        default=None,
        shown="random|NAME,...",
        parser=_class_order,
    )
    max_tasks: int | None = option(
        "stop after this number of tasks; by default learn all", default=None
    )
    validation_fraction: float | None = option(
        "fraction of each class's training images that is held out for validation; by default "
        "0.15, for SVHN 0.10",
        default=None,
    )
    image_size: int | None = option(
        "side of the square images that the networks see, a multiple of 4 and at least 16; by "
        "default 32, for digits 16",
        default=None,
    )

    def __post_init__(self) -> None:
        if (self.dataset == FOLDER) != (self.images is not None):
            raise InputError(f"expected --images=DIR, {IMAGES}, for the data set {FOLDER} only")
        if self.dataset != FOLDER and (self.test_images is not None or self.follow_links):
            raise InputError("--test_images and --follow_links mean nothing without --images")

    def open(self, seed: int) -> "TaskStream":
        """The stream of these data, before its first task.

        Args:
            seed: determines the validation images and a random class order.

        Raises:
            InputError: the data cannot be had or cannot be cut into such tasks.
        """
        # Imported here, so that a command line is checked before TensorFlow is loaded.
        from dgm_tf.data.stream import class_incremental

        return class_incremental(
            self.read(),
            classes_per_task=self.classes_per_task,
            class_order=self.class_order,
            validation_fraction=self.validation_fraction,
            seed=seed,
            image_size=self.image_size,
        )

    def read(self) -> "ImageData":
        """The data, not yet cut into tasks.

        Raises:
            InputError: they cannot be had.
        """
        from dgm_tf.data import datasets, image_folder

        if self.dataset != FOLDER:
            return datasets.load_data(self.dataset, data_dir=self.data_dir)
        size = {} if self.image_size is None else {"image_size": self.image_size}
        return image_folder.read_folder(
            self.images, test_images=self.test_images, follow_links=self.follow_links, **size
        )


@dataclasses.dataclass(frozen=True)
class LearnOptions:
    """A memory and the images of the classes that it gets. Each field's `help` describes it."""

    memory: str = option(
        "folder of the memory; the first command makes it, and later ones may change some settings",
        shown="DIR",
    )
    images: str = option(f"{IMAGES}; classes that the memory knows are left out", shown="DIR")
    test_images: str | None = option(
        "a folder with one subfolder of test images per class, old or new; by default a part of "
        "--images is held out",
        default=None,
        shown="DIR",
    )
    test_fraction: float | None = option(
        "fraction of each new class's images that is held out for tests, chosen by content; by "
        "default 0.2",
        default=None,
    )
    follow_links: bool = follow_links_option()
    together: bool = option(
        "learn all new classes as one task; by default each is a task, in order of their names",
        default=False,
    )
    image_size: int | None = option(
        "side of the square images that the networks see, a multiple of 4; by default 32; a memory "
        "keeps its size",
        default=None,
    )

    def __post_init__(self) -> None:
        if self.test_images is not None and self.test_fraction is not None:
            raise InputError(
                "--test_images says which images to test with, and --test_fraction how many of the "
                "others: leave one out"
            )


@dataclasses.dataclass(frozen=True)
class SettingsOptions:
    """Method and settings of a run. Each field's `help` describes it."""

    method: str = option(
        "dgm, or for comparison: fine_tune (the lower bound), ewc, dgr, mergan_jtr, mergan_ra, "
        "nearest_mean, experience_replay (stores real images), joint and joint_gan (the upper "
        "bounds, trained on all real images seen); or your own, registered by a module that the "
        "environment variable DGM_METHODS names",
        shown="NAME",
        default=next(iter(METHODS)),
        choices=METHODS,  # those, too, that are registered later
    )
    preset: str | None = option(
        f"values of all settings that no flag names: {PRESETS[0]} (for two CPU cores) or "
        f"{PRESETS[1]} (as in the method's paper); by default {PRESETS[0]}",
        default=None,
        choices=PRESETS,
    )
    settings: str | None = option(
        "any settings as JSON, such as '{\"replay_batch\": 64}', or as a JSON file, such as the "
        "settings.json of a run or the best.json of a search; they win over the preset, and flags "
        "win over them",
        default=None,
        shown="JSON|FILE",
    )

    def chosen_preset(self) -> str:
        """The preset's name: the flag's, else that of `settings`, else the first one."""
        return self.preset or self._read().get(settings_file.PRESET, PRESETS[0])

    def names_preset(self) -> bool:
        """Whether the flag or `settings` asks for a preset."""
        return self.preset is not None or settings_file.PRESET in self._read()

    def in_file(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """What `settings` names, without the preset and without epochs that `overrides` replace.

        Args:
            overrides: values that win over these; steps without epochs replace epochs.

        Raises:
            InputError: `settings` cannot be read.
        """
        found = self._read()
        found.pop(settings_file.PRESET, None)
        if "steps" in overrides and "epochs" not in overrides:
            found.pop("epochs", None)
        return found

    def _read(self) -> dict[str, Any]:
        return settings_file.read(self.settings) if self.settings is not None else {}

    def resolve(self, dataset: str, overrides: Mapping[str, Any]) -> Any:
        """The method's settings.

        Args:
            dataset: chooses the preset's values.
            overrides: values that win over those of `settings` and of the preset.

        Raises:
            InputError: `settings` cannot be read, a setting is not the method's, a value is out of
                range, or nothing is left to a preset that was asked for.
        """
        own = setting_names(METHODS[self.method].settings)
        if foreign := [f"--{name}" for name in overrides if name not in own]:
            one = len(foreign) == 1
            raise InputError(
                f"{', '.join(foreign)} {'means' if one else 'mean'} nothing to "
                f"--method={self.method}: leave {'it' if one else 'them'} out"
            )
        chosen = self.in_file(overrides)
        if self.preset is not None and own <= set(chosen):
            raise InputError(
                f"--preset means nothing next to {self.settings}, which names every setting: leave "
                "one out"
            )
        known = None if dataset == FOLDER else dataset
        preset = {"method": self.method, "preset": self.chosen_preset()}
        if chosen:
            try:  # Before the flags, so that the error says where the value is.
                settings_for(known, **preset, **chosen)
            except InputError as error:
                raise InputError(f"{self.settings}: {error}") from error
        return settings_for(known, **preset, **{**chosen, **overrides})


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options that a run's numbers do not depend on. Each field's `help` describes it.

    Raises:
        InputError: options that do not go together.
    """

    run_dir: str | None = option(
        "folder of the run; the same command resumes it from its last checkpoint; by default "
        "runs/<data set>-<tasks>/<method>/seed<seed>, where <method> is dgm-<variant> for DGM",
        default=None,
        shown="DIR",
    )
    oracle: bool = option(
        "score generated images (G_t, Frechet distance, precision, recall) by a classifier that is "
        "trained on all real images, once per data set, and kept in ~/.cache/dgm_tf",
        default=True,
    )
    checkpoint_every: Every = option(
        "write a checkpoint inside a task after this number of steps (500) or this time (90s, 5m, "
        "2h); 0: only at the end of each task, and on Ctrl-C and SIGTERM",
        default=DEFAULT_EVERY,
        shown="N|TIME",
        parser=Every.parse,
    )
    deterministic: bool = option(
        "replace or refuse operations whose result varies from run to run, as DGM always does on a "
        "GPU; a CPU needs none of this: with the same number of threads a run repeats its bits",
        default=False,
    )
    distribute: str = option(
        "train on one device (none), on all GPUs of this machine (mirrored), or in the processes "
        "that the environment variable TF_CONFIG names (multiworker); they share each batch",
        default=DISTRIBUTIONS[0],
        choices=DISTRIBUTIONS,
    )
    replicas: int | None = option(
        "devices for --distribute=mirrored; by default all GPUs; without a GPU the processor is "
        "divided into this number, for trials",
        default=None,
    )
    export_dir: str | None = option(
        "folder NAME that gets the memory as a SavedModel NAME/1, the next one as NAME/2, for "
        "TensorFlow Serving and others; DGM only; by default nothing is exported",
        default=None,
        shown="DIR",
    )
    export_classifier: bool = option("also export the classifier", default=False)
    verbosity: int = option(
        "0: print only the final report; 1: also a live line (in a file or a pipe a line each "
        "minute) and a short block per task; 2: also a line per epoch",
        default=TASKS,
        choices=(QUIET, TASKS, EPOCHS),
    )
    tensorboard: bool = option(
        "also write logs for TensorBoard into the folder tensorboard of the run; needs the package "
        "tensorboard",
        default=False,
    )
    command: str = ""  # The command line, for the record; no flag.

    def __post_init__(self) -> None:
        if self.export_classifier and self.export_dir is None:
            raise InputError(
                "--export_classifier says what to export, and nothing where: name an --export_dir, "
                "too"
            )

    def check_method(self, method: str) -> None:
        """Refuses options that mean nothing to a method.

        Args:
            method: its name.

        Raises:
            InputError: the memory of another method than DGM is to be exported.
        """
        if self.export_dir is not None and method != "dgm":
            raise InputError(
                f"only DGM's memory can be exported: --export_dir is given, --method is {method}"
            )
