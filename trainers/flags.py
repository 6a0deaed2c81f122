"""The flags that all trainers share. Nothing here needs TensorFlow, so mistakes show at once."""

import dataclasses
import math
import os
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags

from dgm_tf import settings_file
from dgm_tf.errors import InputError
from dgm_tf.settings import (
    DISTRIBUTIONS,
    METHODS,
    PRESETS,
    VARIANTS,
    setting_names,
    settings_for,
)
from dgm_tf.storage.checkpoint import DEFAULT_EVERY, Every
from dgm_tf.tuning import space

_IMAGES = "a folder with one subfolder of images per class"
_DATA_DIR = (
    "folder of prepared data, as TFDS prepares it; without it the data is looked for in TFDS's own "
    "folder and fetched if it is not there"
)
_HELP = ("--help", "-help", "-h", "--h", "-?", "--helpshort", "--helpfull")
_WIDTH = 96
_FOLDER = "folder"  # the data set's name when the images come from a folder
_VERBOSITIES = ("0", "1", "2")

# Shares of the training images that the paper holds out.
_VALIDATION = {"mnist": 0.15, "svhn_cropped": 0.10}
_VALIDATION_ELSEWHERE = 0.15


class HelpAsked(Exception):
    """The command line asks for the help text, which is this error's text."""


# Absl's own parsers name Python's conversion functions in their messages; hence the ones below.
# `syntactic_help` is what the help text shows behind "--name=".


class _Text(flags.ArgumentParser):
    def __init__(self, shown: str = "TEXT") -> None:
        super().__init__()
        self.syntactic_help = shown


class _Texts(flags.ArgumentParser):
    def __init__(self, shown: str = "TEXT,TEXT,...") -> None:
        super().__init__()
        self.syntactic_help = shown

    def parse(self, argument: Any) -> tuple[str, ...]:
        texts = tuple(part.strip() for part in str(argument).split(","))
        if not all(texts):
            raise ValueError("expected texts such as 3,7")
        return texts


class _Number(flags.ArgumentParser):
    def __init__(self, number: type) -> None:
        super().__init__()
        self._number = number
        self.syntactic_help = "N" if number is int else "X"

    def parse(self, argument: Any) -> int | float:
        try:
            value = self._number(argument)
            if math.isfinite(value):
                return value
        except (ValueError, OverflowError):
            pass
        raise ValueError("expected a whole number" if self._number is int else "expected a number")


class _Boolean(flags.BooleanParser):
    def parse(self, argument: Any) -> bool:
        try:
            return super().parse(argument)
        except (TypeError, ValueError) as error:
            raise ValueError("expected true or false") from error


class _Numbers(flags.ArgumentParser):
    syntactic_help = "N,N,..."

    def parse(self, argument: Any) -> tuple[int, ...]:
        return _integers(argument, "whole numbers such as 1,2")


class _ClassesPerTask(flags.ArgumentParser):
    syntactic_help = "N|N,N,..."

    def parse(self, argument: Any) -> int | tuple[int, ...]:
        numbers = _integers(argument, "a whole number, or one per task such as 5,3,2")
        return numbers[0] if len(numbers) == 1 else numbers


class _ClassOrder(flags.ArgumentParser):
    syntactic_help = "random|ID,ID,..."

    def parse(self, argument: Any) -> str | tuple[int, ...]:
        if argument == "random":
            return argument
        return _integers(argument, "random, or class ids such as 3,1,0,2")


class _Every(flags.ArgumentParser):
    syntactic_help = "N|TIME"

    def parse(self, argument: Any) -> Every:
        return argument if isinstance(argument, Every) else Every.parse(str(argument))


@dataclasses.dataclass(frozen=True)
class CommandFlags:
    """The flags of one command.

    Attributes:
        values: the flags themselves, kept apart from the ones that other libraries define.
        groups: their names under the headings of the help text.
        required: names and what they are, for those that must be given.
        others: name under which arguments that are no flags are given; none are taken without.
    """

    values: flags.FlagValues
    groups: dict[str, tuple[str, ...]]
    required: dict[str, str] = dataclasses.field(default_factory=dict)
    others: str = ""

    def parse(self, arguments: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
        """Turns a command line into values by flag.

        Args:
            arguments: the command line without the program's name.
            program: how the program is started, such as "python -m trainers.split_mnist".
            about: what it does, for the help text.

        Raises:
            HelpAsked: the help text is asked for.
            InputError: a flag is unknown, or its value is not usable.
        """
        if any(argument in _HELP for argument in arguments):
            raise HelpAsked(self.help(program=program, about=about))
        try:
            left_over = self.values([program, *arguments])[1:]
        except (flags.Error, ValueError) as error:
            text = " ".join(str(error).split())
            raise InputError(f"{text[:1].lower()}{text[1:]} (--help shows all flags)") from error
        if left_over and not self.others:
            raise InputError(f"expected flags as --name=value, received {left_over[0]!r}")
        given = self.values.flag_values_dict()
        if self.others:
            given[self.others] = tuple(left_over)
        for name, what in self.required.items():
            if given[name] is None:
                shown = self.values[name].parser.syntactic_help
                raise InputError(f"expected --{name}={shown}, {what}")
        return given

    def help(self, *, program: str, about: str) -> str:
        """The help text: what the program does and its flags in groups."""
        usage = f"{program} [--flag=value ...]"
        if self.others:
            usage += f" {self.others.removesuffix('s').upper()}..."
        lines = [about.strip(), "", f"Usage: {usage}"]
        for title, names in self.groups.items():
            lines += ["", f"{title}:"]
            for name in names:
                lines += _flag_help(self.values[name])
        lines += ["", "TensorFlow's own log is silent unless TF_CPP_MIN_LOG_LEVEL is set."]
        return "\n".join(lines)

    def _preset(self, value: str) -> str | None:
        """The preset, if the command line names one: a settings file may name another."""
        return value if self.values["preset"].present else None


def settings_from(
    file: str | None,
    dataset: str,
    *,
    preset: str | None,
    method: str,
    overrides: dict[str, Any],
) -> Any:
    """The settings that a file and flags ask for together; the flags win.

    Args:
        file: as `dgm_tf.settings_file` reads it; None for none.
        dataset: for the presets.
        preset: None for the file's, or the first one.
        method: one of `METHODS`.
        overrides: what the flags say, all of it settings of the method.

    Raises:
        InputError: the file cannot be read, has a setting that the method does not have, or leaves
            nothing to the preset; or a value is out of range.
    """
    chosen = settings_file.read(file) if file is not None else {}
    named = chosen.pop(settings_file.PRESET, PRESETS[0])
    if preset is not None and not setting_names(METHODS[method]) - set(chosen):
        raise InputError(
            f"--preset means nothing beside {file}, which names every setting: leave one out"
        )
    preset = named if preset is None else preset
    if chosen:
        try:  # On its own, so that the error says where the value is.
            settings_for(dataset, preset=preset, method=method, **chosen)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    return settings_for(dataset, preset=preset, method=method, **{**chosen, **overrides})


@dataclasses.dataclass(frozen=True)
class TrainerFlags(CommandFlags):
    """The flags of one trainer.

    Attributes:
        dataset: the data set that it learns.
    """

    dataset: str = ""

    def parse(self, arguments: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
        """Turns a command line into the arguments of `dgm_tf.experiments.experiment.Training`.

        Arguments and errors are those of `CommandFlags.parse`.
        """
        given = super().parse(arguments, program=program, about=about)
        fields = {name: given.pop(name) for name in _settings()}
        file = given.pop("settings")
        preset = self._preset(given.pop("preset"))
        verbosity = given.pop("verbosity")
        given["quiet"] = given["quiet"] or verbosity == "0"
        given["epoch_lines"] = verbosity == "2" and not given["quiet"]
        overrides = {name: value for name, value in fields.items() if value is not None}
        method = given["method"]
        own = setting_names(METHODS[method])
        if foreign := [f"--{name}" for name in overrides if name not in own]:
            raise InputError(
                f"{', '.join(foreign)} {'means' if len(foreign) == 1 else 'mean'} nothing to "
                f"--method={method}: leave {'it' if len(foreign) == 1 else 'them'} out"
            )
        settings = settings_from(
            file, self.dataset, preset=preset, method=method, overrides=overrides
        )
        command = as_typed(program, arguments)
        return {"dataset": self.dataset, "settings": settings, "command": command, **given}


def define(dataset: str, *, images: bool = False) -> TrainerFlags:
    """Defines the flags of a trainer.

    Args:
        dataset: the data set that it learns, for the presets.
        images: whether the images come from a folder, which --images names.
    """
    values = flags.FlagValues()
    held_out = _VALIDATION.get(dataset, _VALIDATION_ELSEWHERE)
    _define_stream_flags(values, images=images, held_out=held_out)
    stream = tuple(values)
    _define_run_flags(values)
    run = tuple(name for name in values if name not in stream)
    _define_settings(values, dataset)
    (_, common), *others = _settings_by_owners().items()
    settings = "Settings: a preset, and each setting in place of the preset's"
    groups = {"What to learn": stream, "The run": run, settings: ("preset", "settings", *common)}
    for owners, names in others:
        groups[f"Settings of {', '.join(owners)} alone"] = names
    required = {"images": _IMAGES} if images else {}
    return TrainerFlags(values, groups, required, dataset=dataset)


def define_export() -> CommandFlags:
    """Defines the flags of `trainers.export`."""
    values = flags.FlagValues()
    flags.DEFINE(_Text("DIR"), "run_dir", None, "folder of the run", values)
    text = "the memory as it was after this task, from 1; the last one finished unless given"
    flags.DEFINE(_Number(int), "task", None, text, values)
    _define_export_flags(values, "RUN_DIR/export unless given")
    required = {"run_dir": "the folder of a run"}
    return CommandFlags(values, {"What to export, and where": tuple(values)}, required)


def define_audit() -> CommandFlags:
    """Defines the flags of `trainers.audit`, which has none of its own."""
    return CommandFlags(flags.FlagValues(), {}, others="runs")


def define_sample() -> CommandFlags:
    """Defines the flags of `trainers.sample`."""
    values = flags.FlagValues()
    text = "exported model: NAME for its newest version, or NAME/<n>"
    flags.DEFINE(_Text("DIR"), "model", None, text, values)
    text = "classes by id or name, such as 3,7; all unless given"
    flags.DEFINE(_Texts(), "labels", None, text, values)
    flags.DEFINE(_Number(int), "count", 16, "images of each class", values)
    flags.DEFINE(_Text("FILE"), "out", "grid.png", "PNG file to write", values)
    text = "the same seed gives the same images"
    flags.DEFINE(_Number(int), "seed", 0, text, values)
    required = {"model": "the folder of an exported model"}
    return CommandFlags(values, {"What to draw": tuple(values)}, required)


@dataclasses.dataclass(frozen=True)
class TuneFlags(CommandFlags):
    """The flags of `trainers.tune`."""

    def parse(self, arguments: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
        """Turns a command line into what `trainers.tune` hands on.

        Arguments and errors are those of `CommandFlags.parse`.

        Returns:
            `training`, `plan` and `tuning`: arguments of
            `dgm_tf.experiments.experiment.Training`, and of `Plan` and `Tuning` of
            `dgm_tf.tuning.search`.
        """
        given = super().parse(arguments, program=program, about=about)
        dataset = given["dataset"]
        if (dataset == _FOLDER) != (given["images"] is not None):
            raise InputError(f"expected --images=DIR, {_IMAGES}, together with --dataset={_FOLDER}")
        if given["tuner"] == "hyperband" and self.values["trials"].present:
            raise InputError(
                "--trials means nothing to --tuner=hyperband, whose trials follow from --factor "
                "and --halvings: leave it out"
            )
        preset = self._preset(given["preset"])
        overrides = {
            name: given[name] for name in ("variant", "epochs", "seed") if given[name] is not None
        }
        file = given["settings"]
        settings = settings_from(file, dataset, preset=preset, method="dgm", overrides=overrides)
        if preset is None and file is not None:
            preset = settings_file.read(file).get(settings_file.PRESET)
        if given["validation_fraction"] is None:
            given["validation_fraction"] = _VALIDATION.get(dataset, _VALIDATION_ELSEWHERE)
        stream = (
            "dataset", "images", "data_dir", "classes_per_task", "class_order", "tasks",
            "validation_fraction", "image_size", "quiet",
        )  # fmt: skip
        training = {name: given[name] for name in stream} | {
            "settings": settings,
            "command": as_typed(program, arguments),
        }
        plan = {name: given[name] for name in ("tasks", "tuner", "factor", "halvings")} | {
            "trials": given["trials"],
            "fresh_seeds": given["fresh_seeds"] or (),
        }
        tuning = {
            "preset": preset or PRESETS[0],
            "search": space.check_names(given["search"]),
            **{name: given[name] for name in ("objective", "growth_price", "search_dir")},
        }
        return {"training": training, "plan": plan, "tuning": tuning}


def define_tune() -> CommandFlags:
    """Defines the flags of `trainers.tune`."""
    values = flags.FlagValues()
    text = f"data set: digits, mnist, ..., or {_FOLDER} for the one that --images names"
    flags.DEFINE(_Text("NAME"), "dataset", None, text, values)
    flags.DEFINE(_Text("DIR"), "images", None, _IMAGES, values)
    _define_data_dir(values)
    _define_cut(values)
    text = "tasks that a trial learns, the first ones of the stream"
    flags.DEFINE(_Number(int), "tasks", 3, text, values)
    text = (
        "share of each class's training images that is held out, and that the search looks at; "
        f"{_VALIDATION_ELSEWHERE:g} (svhn_cropped: {_VALIDATION['svhn_cropped']:g}) unless given"
    )
    flags.DEFINE(_Number(float), "validation_fraction", None, text, values)
    _define_image_size(values)
    stream = tuple(values)
    text = (
        "random; bayesian (where a Gaussian process expects most); or hyperband (many at a few "
        "epochs, the best of them again at more)"
    )
    flags.DEFINE_enum("tuner", "bayesian", space.TUNERS, text, values)
    text = "trials in all, those of an earlier start included; not for hyperband"
    flags.DEFINE(_Number(int), "trials", 20, text, values)
    text = (
        f"settings to be searched: {space.described()}; what is not named stays as it is at the "
        "beginning"
    )
    search = ",".join(space.DEFAULT_SEARCH)
    flags.DEFINE(_Texts("NAME,NAME,..."), "search", search, text, values)
    what = "; ".join(f"{name}: {text}" for name, text in space.OBJECTIVES.items())
    text = (
        f"what is made great ({what}), less the price of growth. It is measured on VALIDATION "
        "images of all classes seen, finished tasks' included: a search looks at them, a run "
        "never does. No test image is read"
    )
    flags.DEFINE_enum("objective", "last", list(space.OBJECTIVES), text, values)
    text = (
        "accuracy, 0 to 1, that it costs the generator to end with twice the units that it began "
        "with, and as much again for each further time"
    )
    flags.DEFINE(_Number(float), "growth_price", 0.01, text, values)
    text = "hyperband: by how much the epochs of the best trials are raised"
    flags.DEFINE(_Number(int), "factor", 3, text, values)
    text = "hyperband: how often; the first trials have --epochs / FACTOR^HALVINGS epochs"
    flags.DEFINE(_Number(int), "halvings", 2, text, values)
    text = (
        "seeds with which the best settings and those at the beginning are learnt once more at the "
        "end, on data cut anew: the best trial was chosen for its number, which flatters it"
    )
    flags.DEFINE(_Numbers(), "fresh_seeds", None, text, values)
    text = (
        "folder of the search; the same command goes on there with the trials that are left; "
        "runs/tuning/<data set>-dgm-<variant> unless given"
    )
    flags.DEFINE(_Text("DIR"), "search_dir", None, text, values)
    define_boolean(values, "quiet", False, "print the final table alone")
    run = tuple(name for name in values if name not in stream)
    text = "settings to begin with: for two CPU cores, or the reference settings of the paper"
    flags.DEFINE_enum("preset", PRESETS[0], PRESETS, text, values)
    _define_settings_file(values)
    own = _settings()
    flags.DEFINE_enum("variant", None, VARIANTS, f"{_help(own['variant'])} (default: w)", values)
    text = "passes over a task's images in a trial; the preset's unless given"
    flags.DEFINE(_Number(int), "epochs", None, text, values)
    text = "where all randomness of trials and search comes from; the preset's unless given"
    flags.DEFINE(_Number(int), "seed", None, text, values)
    begin = tuple(name for name in values if name not in (*stream, *run))
    groups = {"What to learn": stream, "The search": run, "Where it begins": begin}
    return TuneFlags(values, groups, {"dataset": "the name of a data set"})


def _define_export_flags(values: flags.FlagValues, unless: str) -> None:
    text = (
        "folder NAME that gets DGM's memory as NAME/1, NAME/2, ..., a SavedModel for TensorFlow "
        f"Serving and others; other methods are refused; {unless}"
    )
    flags.DEFINE(_Text("DIR"), "export_dir", None, text, values)
    define_boolean(values, "export_classifier", False, "export the classifier, too")


def _define_stream_flags(values: flags.FlagValues, *, images: bool, held_out: float) -> None:
    if images:
        flags.DEFINE(_Text("DIR"), "images", None, _IMAGES, values)
    else:
        _define_data_dir(values)
    _define_cut(values)
    text = "stop after that many tasks; all unless given"
    flags.DEFINE(_Number(int), "tasks", None, text, values)
    text = "share of each class's training images that is held out"
    flags.DEFINE(_Number(float), "validation_fraction", held_out, text, values)
    _define_image_size(values)


def _define_data_dir(values: flags.FlagValues) -> None:
    flags.DEFINE(_Text("DIR"), "data_dir", None, _DATA_DIR, values)


def _define_cut(values: flags.FlagValues) -> None:
    text = "classes that arrive with a task: one number, or one for each task such as 5,3,2"
    flags.DEFINE(_ClassesPerTask(), "classes_per_task", 1, text, values)
    text = (
        "order in which the classes arrive: ascending unless given as ids such as 3,1,0,2, or as "
        '"random", which draws it from --seed'
    )
    flags.DEFINE(_ClassOrder(), "class_order", None, text, values)


def _define_image_size(values: flags.FlagValues) -> None:
    text = (
        "side of the square images for the networks, a multiple of 8; 32 (digits: 16) unless given"
    )
    flags.DEFINE(_Number(int), "image_size", None, text, values)


def _define_run_flags(values: flags.FlagValues) -> None:
    text = (
        "folder of the run; the same command goes on there from its last checkpoint; "
        "runs/<data set>-<tasks>/<method>/seed<seed> unless given, where DGM's <method> is "
        "dgm-<variant>"
    )
    flags.DEFINE(_Text("DIR"), "run_dir", None, text, values)
    text = (
        "dgm, or a method to compare it with: joint and joint_gan (the upper references, trained "
        "on all real images seen), fine_tune, ewc, dgr, mergan_jtr, mergan_ra"
    )
    flags.DEFINE_enum("method", next(iter(METHODS)), list(METHODS), text, values)
    text = (
        "folder of a DGM run whose generators are taken as they are, task by task: the classifier "
        "alone is trained, by other settings of consolidation; ends as a whole run by them would"
    )
    flags.DEFINE(_Text("DIR"), "memory_of", None, text, values)
    text = (
        "judge generated images (G_t, Frechet distance, precision, recall) by a classifier trained "
        "on all real images, once per data set and then kept in ~/.cache/dgm_tf (default: on)"
    )
    define_boolean(values, "oracle", True, text)
    text = (
        "write a checkpoint inside a task every so many steps (500) or so much time (90s, 5m, 2h); "
        "0 writes them at the end of each task and on Ctrl-C and SIGTERM alone"
    )
    flags.DEFINE(_Every(), "checkpoint_every", DEFAULT_EVERY, text, values)
    text = (
        "what to do when a loss is no finite number or explodes, or the generator collapses: stop "
        "(exit code 3, the last good state is kept) or retry (learn the task again at half the "
        "learning rates, three times at most)"
    )
    flags.DEFINE_enum("on_divergence", "stop", ("stop", "retry"), text, values)
    text = (
        "let TensorFlow replace or refuse operations whose result varies from run to run, as dgm "
        "does on a GPU in any case; on a CPU a run is the same to the last bit without it, resumed "
        "or not, given the same number of threads"
    )
    define_boolean(values, "deterministic", False, text)
    _define_distribution(values)
    _define_export_flags(values, "nothing is exported unless given")
    text = (
        "0: the final report alone; 1: a live line and a short block per task; 2: each epoch, too"
    )
    flags.DEFINE_enum("verbosity", "1", _VERBOSITIES, text, values)
    define_boolean(values, "quiet", False, "the same as --verbosity=0")
    text = (
        "also write logs for TensorBoard, in the folder tensorboard of the run; needs the package "
        "tensorboard"
    )
    define_boolean(values, "tensorboard", False, text)


def _define_distribution(values: flags.FlagValues) -> None:
    text = (
        "train on one device (none), on all GPUs of this machine (mirrored), or in one process per "
        "device, on any number of machines, as the environment variable TF_CONFIG says "
        "(multiworker); batch sizes are those of all together"
    )
    flags.DEFINE_enum("distribute", DISTRIBUTIONS[0], DISTRIBUTIONS, text, values)
    text = (
        "devices that --distribute=mirrored takes, all GPUs unless given; without a GPU the "
        "processor is divided into so many, for trials"
    )
    flags.DEFINE(_Number(int), "replicas", None, text, values)


def _define_settings(values: flags.FlagValues, dataset: str) -> None:
    text = "settings to begin with: for two CPU cores, or the reference settings of the paper"
    flags.DEFINE_enum("preset", PRESETS[0], PRESETS, text, values)
    _define_settings_file(values)
    for name, field in _settings().items():
        if name == "variant":
            flags.DEFINE_enum(name, None, VARIANTS, f"{_help(field)} (default: w)", values)
            continue
        text = f"{_help(field)} ({_preset_values(dataset, name)})"
        if choices := field.metadata.get("choices"):
            flags.DEFINE_enum(name, None, choices, text, values)
        elif field.type is bool:
            define_boolean(values, name, None, text)
        elif field.type in (int, float):
            flags.DEFINE(_Number(field.type), name, None, text, values)
        else:
            raise TypeError(f"setting {name} has the type {field.type}, which no flag has")


def _define_settings_file(values: flags.FlagValues) -> None:
    text = (
        "settings from a JSON file, such as the best.json of trainers.tune or a run's "
        "settings.json; flags on the command line win over it"
    )
    flags.DEFINE(_Text("FILE"), "settings", None, text, values)


def _help(field: dataclasses.Field) -> str:
    return field.metadata["help"]


def define_text(
    values: flags.FlagValues, name: str, default: str | None, text: str, *, shown: str
) -> None:
    """Adds a flag that takes any text; the help calls it `shown`."""
    flags.DEFINE(_Text(shown), name, default, text, values)


def define_integer(values: flags.FlagValues, name: str, default: int | None, text: str) -> None:
    """Adds a flag that takes a whole number."""
    flags.DEFINE(_Number(int), name, default, text, values)


def define_jobs(
    values: flags.FlagValues, *, default: int | None = 1, unless_given: str = ""
) -> None:
    text = (
        "runs at the same time, each with its share of the cores; on another number of cores a run "
        f"has other bits{unless_given}"
    )
    define_integer(values, "jobs", default, text)


def define_data(values: flags.FlagValues) -> None:
    """Adds the flags that say where images are: `images` and `data_dir`."""
    flags.DEFINE(_Text("DIR"), "images", None, f"{_IMAGES}, for data of one's own", values)
    _define_data_dir(values)


def define_boolean(values: flags.FlagValues, name: str, default: bool | None, text: str) -> None:
    """Adds a flag that is on or off."""
    flag = flags.BooleanFlag(name, default, text)
    flag.parser = _Boolean()
    flags.DEFINE_flag(flag, values)


def _settings() -> dict[str, dataclasses.Field]:
    """Every setting of any method, by name; DGM's where several have it, which has most choices."""
    found: dict[str, dataclasses.Field] = {}
    for kind in METHODS.values():
        for field in dataclasses.fields(kind):
            found.setdefault(field.name, field)
    return found


def _owners(name: str) -> tuple[str, ...]:
    """The methods that have a setting."""
    return tuple(method for method, kind in METHODS.items() if name in setting_names(kind))


def _settings_by_owners() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Settings in groups of those that the same methods have, the most common first."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name in _settings():
        names.setdefault(_owners(name), []).append(name)
    ordered = sorted(names.items(), key=lambda item: -len(item[0]))
    return {owners: tuple(group) for owners, group in ordered}


def _preset_values(dataset: str, name: str) -> str:
    """What the presets say about a setting, DGM's first: "cpu: 16; paper: 101"."""
    found = {preset: _preset_value(dataset, name, preset) for preset in PRESETS}
    if len(set(found.values())) == 1:
        return f"preset: {found[PRESETS[0]]}"
    return "; ".join(f"{preset}: {text}" for preset, text in found.items())


def _preset_value(dataset: str, name: str, preset: str) -> str:
    """One preset's value, or its values by variant and method where they differ."""
    values: dict[str, str] = {}
    for method in _owners(name):
        for variant in VARIANTS if method == "dgm" else (None,):
            settings = settings_for(dataset, variant, preset, method=method)
            label = f"{method} {variant}" if variant else method
            values[label] = _text(getattr(settings, name))
    first, *_ = values.values()
    others = {label: text for label, text in values.items() if text != first}
    by_text: dict[str, list[str]] = {}
    for label, text in others.items():
        by_text.setdefault(text, []).append(label)
    gans = [method for method in _owners(name) if method not in ("dgm", "joint")]
    named = {
        text: "the other GANs" if of == gans and len(gans) > 2 else " ".join(of)
        for text, of in by_text.items()
    }
    return "".join([first, *(f", {text} for {of}" for text, of in named.items())])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flag_help(flag: flags.Flag) -> list[str]:
    if flag.boolean:
        head = f"--[no]{flag.name}"
    elif isinstance(flag.parser, flags.EnumParser):
        head = f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    else:
        head = f"--{flag.name}={flag.parser.syntactic_help or 'TEXT'}"
    text = flag.help
    if isinstance(flag.parser, flags.EnumParser):
        text = text.partition(">: ")[2]  # Absl puts the choices in front.
    if flag.default is not None and not flag.boolean:
        text = f"{text} (default: {_text(flag.default)})"
    indent = " " * 6
    lines = textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return [f"  {head}", *lines]


def as_typed(program: str, arguments: Sequence[str]) -> str:
    """The command as it is to be typed again for the same bits.

    TensorFlow's oneDNN rounds differently, so that its switch belongs to the command.
    """
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    switch = [f"TF_ENABLE_ONEDNN_OPTS={onednn}"] if onednn in ("0", "1") else []
    return shlex.join([*switch, *program.split(), *arguments])


def _integers(argument: Any, wanted: str) -> tuple[int, ...]:
    if isinstance(argument, int):
        return (argument,)
    try:
        return tuple(int(part) for part in str(argument).split(","))
    except ValueError as error:
        raise ValueError(f"expected {wanted}") from error
