"""The flags that all trainers share. Nothing here needs TensorFlow, so mistakes show at once."""

import dataclasses
import math
import shlex
import textwrap
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

from dgm_tf.errors import InputError
from dgm_tf.settings import METHODS, PRESETS, VARIANTS, DGMSettings, settings_for

_IMAGES = "a folder with one subfolder of images per class"
_HELP = ("--help", "-help", "-h", "--h", "-?", "--helpshort", "--helpfull")
_WIDTH = 96

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


class _Texts(flags.ArgumentParser):
    syntactic_help = "TEXT,TEXT,..."

    def parse(self, argument: Any) -> tuple[str, ...]:
        texts = tuple(part.strip() for part in str(argument).split(","))
        if not all(texts):
            raise ValueError("expected texts such as 3,7")
        return texts


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


@dataclasses.dataclass(frozen=True)
class CommandFlags:
    """The flags of one command.

    Attributes:
        values: the flags themselves, kept apart from the ones that other libraries define.
        groups: their names under the headings of the help text.
        required: names and what they are, for those that must be given.
    """

    values: flags.FlagValues
    groups: dict[str, tuple[str, ...]]
    required: dict[str, str]

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
        if left_over:
            raise InputError(f"expected flags as --name=value, received {left_over[0]!r}")
        given = self.values.flag_values_dict()
        for name, what in self.required.items():
            if given[name] is None:
                shown = self.values[name].parser.syntactic_help
                raise InputError(f"expected --{name}={shown}, {what}")
        return given

    def help(self, *, program: str, about: str) -> str:
        """The help text: what the program does and its flags in groups."""
        lines = [about.strip(), "", f"Usage: {program} [--flag=value ...]"]
        for title, names in self.groups.items():
            lines += ["", f"{title}:"]
            for name in names:
                lines += _flag_help(self.values[name])
        lines += ["", "TensorFlow's own log is silent unless TF_CPP_MIN_LOG_LEVEL is set."]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class TrainerFlags(CommandFlags):
    """The flags of one trainer.

    Attributes:
        dataset: the data set that it learns.
    """

    dataset: str

    def parse(self, arguments: Sequence[str], *, program: str, about: str) -> dict[str, Any]:
        """Turns a command line into the arguments of `dgm_tf.experiment.Training`.

        Arguments and errors are those of `CommandFlags.parse`.
        """
        given = super().parse(arguments, program=program, about=about)
        fields = {name: given.pop(name) for name in _setting_names()}
        preset = given.pop("preset")
        overrides = {name: value for name, value in fields.items() if value is not None}
        variant = overrides.pop("variant")
        settings = settings_for(self.dataset, variant, preset, **overrides)
        command = shlex.join([*program.split(), *arguments])
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
    settings = "The settings of DGM: a preset, and each setting in place of the preset's"
    groups = {"What to learn": stream, "The run": run, settings: ("preset", *_setting_names())}
    required = {"images": _IMAGES} if images else {}
    return TrainerFlags(values, groups, required, dataset)


def define_export() -> CommandFlags:
    """Defines the flags of `trainers.export`."""
    values = flags.FlagValues()
    flags.DEFINE(_Text("DIR"), "run_dir", None, "folder of the run", values)
    text = "the memory as it was after this task, from 1; the last one finished unless given"
    flags.DEFINE(_Number(int), "task", None, text, values)
    _define_export_flags(values, "RUN_DIR/export unless given")
    required = {"run_dir": "the folder of a run"}
    return CommandFlags(values, {"What to export, and where": tuple(values)}, required)


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


def _define_export_flags(values: flags.FlagValues, unless: str) -> None:
    text = (
        "folder NAME that gets the memory as NAME/1, NAME/2, ..., a SavedModel for TensorFlow "
        f"Serving and others; {unless}"
    )
    flags.DEFINE(_Text("DIR"), "export_dir", None, text, values)
    _define_boolean(values, "export_classifier", False, "export the classifier, too")


def _define_stream_flags(values: flags.FlagValues, *, images: bool, held_out: float) -> None:
    if images:
        flags.DEFINE(_Text("DIR"), "images", None, _IMAGES, values)
    else:
        text = (
            "folder of prepared data, as TFDS prepares it; without it the data is looked for in "
            "TFDS's own folder and fetched if it is not there"
        )
        flags.DEFINE(_Text("DIR"), "data_dir", None, text, values)
    text = "classes that arrive with a task: one number, or one for each task such as 5,3,2"
    flags.DEFINE(_ClassesPerTask(), "classes_per_task", 1, text, values)
    text = (
        "order in which the classes arrive: ascending unless given as ids such as 3,1,0,2, or as "
        '"random", which draws it from --seed'
    )
    flags.DEFINE(_ClassOrder(), "class_order", None, text, values)
    text = "stop after that many tasks; all unless given"
    flags.DEFINE(_Number(int), "tasks", None, text, values)
    text = "share of each class's training images that is held out"
    flags.DEFINE(_Number(float), "validation_fraction", held_out, text, values)
    text = (
        "side of the square images for the networks, a multiple of 8; 32 (digits: 16) unless given"
    )
    flags.DEFINE(_Number(int), "image_size", None, text, values)


def _define_run_flags(values: flags.FlagValues) -> None:
    text = (
        "folder of the run; the same command goes on there after its last finished task; "
        "runs/<data set>-<tasks>/dgm-<variant>/seed<seed> unless given"
    )
    flags.DEFINE(_Text("DIR"), "run_dir", None, text, values)
    text = "dgm, or joint: the upper reference, the same classifier trained on all real images seen"
    flags.DEFINE_enum("method", METHODS[0], METHODS, text, values)
    _define_export_flags(values, "nothing is exported unless given")
    _define_boolean(values, "quiet", False, "print nothing before the final report")


def _define_settings(values: flags.FlagValues, dataset: str) -> None:
    text = "settings to begin with: for two CPU cores, or the reference settings of the paper"
    flags.DEFINE_enum("preset", PRESETS[0], PRESETS, text, values)
    hints = typing.get_type_hints(DGMSettings)
    for field in dataclasses.fields(DGMSettings):
        name, text = field.name, field.metadata.get("help", "")
        if name == "variant":
            flags.DEFINE_enum(name, VARIANTS[0], VARIANTS, text, values)
            continue
        text = f"{text} ({_preset_values(dataset, name)})"
        kind = _plain_type(hints[name])
        if choices := field.metadata.get("choices"):
            flags.DEFINE_enum(name, None, choices, text, values)
        elif kind is bool:
            _define_boolean(values, name, None, text)
        elif kind in (int, float):
            flags.DEFINE(_Number(kind), name, None, text, values)
        elif kind is str:
            flags.DEFINE(_Text(), name, None, text, values)
        else:
            raise TypeError(f"setting {name} has the type {kind}, which no flag has")


def _define_boolean(values: flags.FlagValues, name: str, default: bool | None, text: str) -> None:
    flag = flags.BooleanFlag(name, default, text)
    flag.parser = _Boolean()
    flags.DEFINE_flag(flag, values)


def _setting_names() -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(DGMSettings))


def _plain_type(hint: Any) -> Any:
    """The type that a flag gives: `int` of `int | None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(option for option in typing.get_args(hint) if option is not types.NoneType)
    return hint


def _preset_values(dataset: str, field: str) -> str:
    """What the presets say about a setting: "cpu: 16; paper: 101"."""
    found = {}
    for preset in PRESETS:
        try:
            found[preset] = {
                variant: getattr(settings_for(dataset, variant, preset), field)
                for variant in VARIANTS
            }
        except InputError:  # Not every data set has every preset.
            continue
    if len({value for by_variant in found.values() for value in by_variant.values()}) == 1:
        return f"preset: {_text(found[PRESETS[0]][VARIANTS[0]])}"
    return "; ".join(f"{preset}: {_by_variant(values)}" for preset, values in found.items())


def _by_variant(values: dict[str, Any]) -> str:
    if len(set(values.values())) == 1:
        return _text(next(iter(values.values())))
    return ", ".join(f"{_text(value)} for {variant}" for variant, value in values.items())


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


def _integers(argument: Any, wanted: str) -> tuple[int, ...]:
    if isinstance(argument, int):
        return (argument,)
    try:
        return tuple(int(part) for part in str(argument).split(","))
    except ValueError as error:
        raise ValueError(f"expected {wanted}") from error
