"""Command-line flags and help texts, made from dataclasses. Nothing here needs TensorFlow."""

import dataclasses
import difflib
import math
import os
import shlex
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from dgm_tf._checks import one_line, reason
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import integers, texts
from dgm_tf.storage import paths
from trainers import own_methods

_HELP = ("--help", "-help", "-h", "--h", "-?", "--helpshort")
_HELPFULL = ("--helpfull", "-helpfull")
_WIDTH = 96
_LONGEST = 500  # characters of an error, which repeats a flag's value

UNUSED = object()  # in place of a value: the help text leaves the flag out


class HelpAsked(Exception):
    """The command line asks for the help text, which is this error's text."""


@dataclasses.dataclass(frozen=True)
class Given:
    """Content of a command line.

    Attributes:
        values: by flag, those that are given.
        others: arguments that are no flags, which are paths.
        command: the command line as it can be typed again.
    """

    values: Mapping[str, Any]
    others: tuple[str, ...] = ()
    command: str = ""

    def of(self, kind: type, **fixed: Any) -> Any:
        """An object of a dataclass, from what is given and its defaults.

        Args:
            kind: the dataclass.
            **fixed: fields that are no flags.
        """
        return kind(**self.among(kind), **fixed)

    def among(self, *kinds: type) -> dict[str, Any]:
        """Returns those values that are fields of some dataclasses."""
        names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
        return {name: value for name, value in self.values.items() if name in names}


def program(name: str) -> str:
    """A command as it is typed, by the way in which this one was started."""
    started = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return f"dgm {name}" if started == "dgm" else f"python -m trainers.{name}"


class Flags:
    """The flags of one command.

    Args:
        name: of its module in `trainers`.
        about: what it does, for the help text.
        examples: arguments of commands that the help text begins with.
        others: name of the arguments that are no flags, such as "RUN"; by default none are taken.
        first: flags that `--help` shows; by default all.
        used: gives values that the command would use where flags leave them to something else, or
            `UNUSED` for flags that mean nothing to it; for the help text.
    """

    def __init__(
        self,
        name: str,
        about: str,
        *,
        examples: Sequence[str] = (),
        others: str = "",
        first: Sequence[str] = (),
        used: Callable[[Given], Mapping[str, Any]] = lambda given: {},
    ) -> None:
        self.about = about.strip()
        self._program, self._examples, self._others = program(name), examples, others
        self._first, self._used = first, used
        self._values = flags.FlagValues()
        self._fields: dict[str, dataclasses.Field] = {}
        self._groups: dict[str, list[str]] = {}

    def add(self, title: str, *kinds: type, without: Sequence[str] = ()) -> "Flags":
        """Adds the fields of dataclasses that have a `help` in their metadata.

        Each becomes a flag, unless its metadata says `flag=False`: then only the help text has it.
        Of several fields of one name the first decides.

        Args:
            title: their heading in the help text.
            *kinds: the dataclasses.
            without: names of fields to leave out.
        """
        for field in (each for kind in kinds for each in dataclasses.fields(kind)):
            if field.name in (*without, *self._fields) or "help" not in field.metadata:
                continue
            self._fields[field.name] = field
            if not field.metadata.get("flag", True):
                self._groups.setdefault(f"{title} by --settings", []).append(field.name)
                continue
            self._groups.setdefault(title, []).append(field.name)
            # None, so that a flag that is given can be told from one that is not.
            boolean = field.type is bool
            flag = flags.Flag(_Parser(field), None, field.name, None, "", boolean=boolean)
            flags.DEFINE_flag(flag, self._values)
        return self

    def parse(self, arguments: Sequence[str] | None = None) -> Given:
        """Reads a command line.

        Args:
            arguments: without the program's name; by default the process's own.

        Raises:
            HelpAsked: the help text is asked for.
            InputError: a flag is unknown or missing, or its value cannot be used.
        """
        typed = sys.argv[1:] if arguments is None else list(arguments)
        asked = [each for each in typed if each in (*_HELP, *_HELPFULL)]
        plain = [each for each in typed if each not in asked]
        try:
            others = self._values([self._program, *plain])
        except flags.UnrecognizedFlagError as error:
            raise InputError(self._unknown(error.flagname)) from error
        except (flags.Error, ValueError) as error:
            text = one_line(error, _LONGEST).removeprefix("ERROR:: ")
            if isinstance(error, UnicodeDecodeError):
                text = f"a --flagfile cannot be read: {reason(error)}"
            raise InputError(f"{text[:1].lower()}{text[1:]} (--help shows the flags)") from error
        values = self._values.flag_values_dict()
        values = {n: v for n, v in values.items() if n in self._fields and v is not None}
        others = tuple(map(paths.typed, others[1:])) if self._others else tuple(others[1:])
        given = Given(values, others, _as_typed(self._program, typed))
        if asked:
            raise HelpAsked(self._help(given, full=bool(set(asked) & set(_HELPFULL))))
        if given.others and not self._others:
            first, hint = given.others[0], ""
            if "memory" in self.names() and "memory" not in values:
                hint = f": name the folder by {quoted([f'--memory={first}'])}"
            raise InputError(f"expected flags as --name=value, received {first!r}{hint}")
        for name in self.names():
            field = self._fields[name]
            if field.default is dataclasses.MISSING and name not in values:
                raise InputError(f"expected --{name}={_shown(field)}, {field.metadata['help']}")
        return given

    def names(self) -> list[str]:
        """The names of all flags."""
        return [name for name, field in self._fields.items() if field.metadata.get("flag", True)]

    @property
    def usage(self) -> str:
        """The command as it is typed, with what it takes."""
        others = f" {self._others}..." if self._others else ""
        return f"{self._program} [--flag=value ...]{others}"

    @property
    def examples(self) -> list[str]:
        """Commands that can be typed."""
        return [f"{self._program} {each}" for each in self._examples]

    @property
    def groups(self) -> dict[str, list[dataclasses.Field]]:
        """The flags, and the settings that only `--settings` reaches, by heading."""
        return {
            title: [self._fields[name] for name in names] for title, names in self._groups.items()
        }

    def _unknown(self, flag: str) -> str:
        """A line on a flag that there is not, with those that may have been meant."""
        names, parts = self.names(), {*flag.replace("-", "_").split("_")}
        close = difflib.get_close_matches(flag, names, n=3, cutoff=0.75)
        close = close or [name for name in names if parts & {*name.split("_")}][:3]
        meant = f". Did you mean: {', '.join(close)}" if close else ""
        return f"unknown command line flag {one_line(flag, 60)!r}{meant} (--help shows the flags)"

    def _help(self, given: Given, *, full: bool) -> str:
        """The help text: what the program does, examples, and flags with the values in use."""
        first, *rest = self.about.splitlines()
        lines = [first]
        if self._examples:
            lines += ["", "Examples:", *(f"  {each}" for each in self.examples)]
        lines += [*rest, "", f"Usage: {self.usage}"]
        defaults = {name: field.default for name, field in self._fields.items()}
        used = {**defaults, **given.values, **self._used(given)}
        groups = self._groups
        if self._first and not full:
            groups = {"Flags, each with the value that this command would use": self._first}
        for title, names in groups.items():
            shown = [self._line(name, used[name]) for name in names if used[name] is not UNUSED]
            lines += ["", f"{title}:", *shown] if shown else []
        if groups is not self._groups:
            lines += ["", f"--helpfull shows all {len(self.names())} flags and every setting."]
        else:
            lines += ["", "TensorFlow logs only if TF_CPP_MIN_LOG_LEVEL is set."]
        return "\n".join(lines)

    def _line(self, name: str, value: Any) -> str:
        field = self._fields[name]
        head = flag_of(field) if field.metadata.get("flag", True) else name
        text = field.metadata["help"]
        if value not in (None, (), dataclasses.MISSING):
            shown = text_of(value)
            text += f" [{shown.replace(',', ', ') if len(shown) > _WIDTH // 2 else shown}]"
        indent = " " * 6
        text = textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
        return f"  {head}\n{text}"


class _Parser(flags.ArgumentParser):
    """Parser of a field's values, whose errors say what is expected."""

    def __init__(self, field: dataclasses.Field) -> None:
        super().__init__()
        self._parse = _parser(field)

    def parse(self, argument: str) -> Any:
        return self._parse(argument)


def _type(field: dataclasses.Field) -> Any:
    """The field's type, without the None of an optional one."""
    if not isinstance(field.type, types.UnionType):
        return field.type
    some = [each for each in typing.get_args(field.type) if each is not type(None)]
    return some[0] if len(some) == 1 else str


def _parser(field: dataclasses.Field) -> Callable[[str], Any]:
    if choices := field.metadata.get("choices"):
        return lambda text: _choice(text, choices)
    if parser := field.metadata.get("parser"):
        return parser
    return _PARSERS.get(_type(field), str)


def _choice(text: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if text == str(choice):
            return choice
    raise ValueError(f"expected {' or '.join(map(str, choices))}")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError("expected a whole number") from error


def _real(text: str) -> float:
    try:
        if math.isfinite(value := float(text)):
            return value
    except ValueError:
        pass
    raise ValueError("expected a number")


def _boolean(text: str) -> bool:
    found = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if text.lower() not in found:
        raise ValueError("expected true or false")
    return found[text.lower()]


_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    int: _whole,
    float: _real,
    bool: _boolean,
    tuple[int, ...]: integers,
    tuple[str, ...]: texts,
}
_SHOWN = {int: "N", float: "X", tuple[int, ...]: "N,N,...", tuple[str, ...]: "NAME,NAME,..."}


def _shown(field: dataclasses.Field) -> str:
    """Returns what the help text shows behind `--name=`."""
    if shown := field.metadata.get("shown"):
        return shown
    if choices := field.metadata.get("choices"):
        return "|".join(map(str, choices))
    return _SHOWN.get(_type(field), "TEXT")


def flag_of(field: dataclasses.Field) -> str:
    """A field's flag as it is typed, such as --epochs=N."""
    return f"--[no]{field.name}" if field.type is bool else f"--{field.name}={_shown(field)}"


def text_of(value: Any) -> str:
    """A value as the help text has it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ",".join(map(text_of, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _as_typed(program: str, arguments: Sequence[str]) -> str:
    """The command as it is to be typed again for the same bits.

    TensorFlow's oneDNN rounds differently, so that its switch belongs to the command.
    """
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "")
    known = onednn.lower() in ("0", "1", "false", "true")  # TensorFlow passes others over.
    variables = [f"TF_ENABLE_ONEDNN_OPTS={onednn}"] if known else []
    if methods := os.environ.get(own_methods.VARIABLE):
        variables.append(f"{own_methods.VARIABLE}={methods}")
    return quoted([*variables, *program.split(), *arguments])


def quoted(arguments: Sequence[str]) -> str:
    """Arguments as one line that a shell reads back."""
    return " ".join(map(_quoted, arguments))


def _quoted(argument: str) -> str:
    if argument.isprintable():
        return shlex.quote(argument)
    # Bytes that are no UTF-8, line breaks and the like, as bash and zsh read them.
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(argument)
    )
    return f"$'{escaped}'"
