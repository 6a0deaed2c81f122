"""Hook of MkDocs: pages made from the code, and a check of the site.

`commands_page` and `settings_page` return Markdown and need nothing but the project.
`foreign` finds what a page would load from another host. MkDocs calls the functions named `on_...`.
"""

import dataclasses
import html
import importlib
import inspect
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from dgm_tf.methods import settings
from dgm_tf.methods.presets import TUNED, settings_for
from dgm_tf.methods.registry import METHODS, label_of
from dgm_tf.reporting import tables
from trainers.__main__ import commands
from trainers.flags import Flags, flag_of, text_of

_GROUPS = {
    "learn": "Learn",
    "look": "Look at what was learnt",
    "use": "Use a memory",
    "study": "Compare methods and search for settings",
}
_LONGEST_FLAG = 45
_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text"}


# Commands.


def flags_of(name: str) -> Flags:
    """The flags of a command, which its help text is made of, too."""
    return importlib.import_module(f"trainers.{name}").define()


def commands_page() -> str:
    """Every command with its flags; commands with the same flags share their tables."""
    parts = [
        "# Commands",
        "Each command also runs as `dgm NAME` once the package is installed. "
        "`--help` shows the flags that matter most, and `--helpfull` all of them. "
        "`--flagfile=FILE` reads flags from a file, one a line. "
        "An empty default means that the flag's text says what happens without it.",
    ]
    for group, paths in commands().items():
        parts.append(f"## {_GROUPS.get(group, group.capitalize())}")
        alike: dict[str, list[Flags]] = {}
        for path in paths:
            flags = flags_of(path.stem)
            alike.setdefault(_flag_tables(flags), []).append(flags)
        for shown, sharing in alike.items():
            parts += [*map(_command, sharing), shown]
    return "\n\n".join(parts) + "\n"


def _command(flags: Flags) -> str:
    name = flags.usage.split()[2].removeprefix("trainers.")
    examples = "\n".join(flags.examples)
    return (
        f"### {name}\n\n{_escaped(flags.about)}\n\n```text\n{flags.usage}\n```\n\n"
        f"```sh\n{examples}\n```"
    )


def _flag_tables(flags: Flags) -> str:
    tables = []
    for title, fields in flags.groups.items():
        shown = [field for field in fields if field.metadata.get("flag", True)]
        if not shown:  # settings without a flag, which the other page has
            continue
        # A setting's default depends on method and data set.
        link = any("low" in field.metadata for field in shown)
        note = "\n\nDefault values of settings: see [Settings](settings.md).\n" if link else "\n"
        rows = [[*_flag(field), _default(field)] for field in shown]
        tables.append(f"**{title}**{note}\n{_table(['flag', 'meaning', 'default'], rows)}")
    return "\n\n".join(tables)


def _flag(field: dataclasses.Field) -> list[str]:
    """A flag as it is typed, and its meaning, which has the choices if there are many."""
    flag, meaning = flag_of(field), _escaped(field.metadata["help"])
    if len(flag) > _LONGEST_FLAG:
        flag = f"--{field.name}=NAME"
        meaning += f"; one of {', '.join(f'`{each}`' for each in field.metadata['choices'])}"
    return [f"`{flag}`", meaning]


def _default(field: dataclasses.Field) -> str:
    if "low" in field.metadata:
        return ""
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{text_of(field.default)}`" if field.default not in (None, ()) else ""


# Settings.


@dataclasses.dataclass(frozen=True)
class Column:
    """One preset.

    Attributes:
        title: its heading.
        dataset: the data set; None for data without a preset.
        preset: "tuned" or "paper".
    """

    title: str
    dataset: str | None
    preset: str = "tuned"

    def settings(self, method: str) -> Mapping[str, Any]:
        """The settings of a method by name; the method of DGM is dgm-w or dgm-a."""
        name, _, variant = method.partition("-")
        chosen = settings_for(self.dataset, name, variant=variant or None, preset=self.preset)
        return dataclasses.asdict(chosen)


COLUMNS = (
    Column("default", None),
    *(Column(dataset, dataset) for dataset in TUNED),
    Column("paper", None, "paper"),
    Column("paper, svhn_cropped", "svhn_cropped", "paper"),
)
# As results call them; the variants of DGM have presets of their own.
LEARNERS = ("dgm-w", "dgm-a", *(name for name in METHODS if name != "dgm"))


def settings_page() -> str:
    """Every setting: meaning, values allowed, and values in every preset."""
    return f"""---
hide: [toc]
---

# Settings

The table has one line for each setting, or several where methods differ.
A setting with a star has a command-line flag of its name.
A memory may change those with a dagger (†) between tasks, and keeps the others for good.
`--settings` takes all of them as JSON or as a file.
In Python they are keyword arguments of the learner, and `dgm_tf.settings_for` returns a whole set.

- Choose a column by your data: `default` is for data without a preset.
- `paper` holds the settings of the method's paper, for every data set except SVHN.
- Lines without a name belong to the setting above them.

<div class="settings" markdown>

{_table(["setting", "values", "meaning", "methods", *(c.title for c in COLUMNS)], setting_rows())}

</div>

## Recipes

A recipe is a set of constants of training. The setting `recipe` names it.

{_table(["constant", "meaning", *(title for title, _ in _recipes())], _recipe_rows())}
"""


def setting_rows() -> Iterator[list[str]]:
    """The lines of the table: methods with the same values of a setting share one."""
    values = {learner: [column.settings(learner) for column in COLUMNS] for learner in LEARNERS}
    for name, fields in _fields().items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for learner, field in fields.items():
            cells = [_value(each[name]) for each in values[learner]]
            alike.setdefault((_allowed(field), *cells), []).append(learner)
        first = next(iter(fields.values()))
        marks = [" \\*"] * first.metadata["flag"] + [" †"] * first.metadata["later"]
        shown, meaning, last = f"`{name}`{''.join(marks)}", _escaped(first.metadata["help"]), ""
        for (allowed, *cells), learners in alike.items():
            head = [shown, "" if allowed == last else allowed, meaning]
            yield [*head, _methods(learners, len(fields)), *cells]
            shown, meaning, last = "", "", allowed


def _fields() -> dict[str, dict[str, dataclasses.Field]]:
    """The fields of settings by name and method."""
    found: dict[str, dict[str, dataclasses.Field]] = {}
    for learner in LEARNERS:
        for field in dataclasses.fields(METHODS[learner.partition("-")[0]].settings):
            found.setdefault(field.name, {})[learner] = field
    return found


def _allowed(field: dataclasses.Field) -> str:
    if field.name == "recipe":
        return " or ".join(f"`{each}`" for each in settings.RECIPES)
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return " or ".join(f"`{each}`" for each in choices)
    if field.type is bool:
        return _TYPES[bool]
    kind = _TYPES.get(field.type, "integers")
    return f"{kind}, {low:g} to {high:g}" if high is not None else f"{kind}, {low:g} or more"


def _methods(learners: list[str], having: int) -> str:
    """Names of methods; the GANs that share their settings are named together."""
    if len(learners) == having and having >= len(LEARNERS) - 1:
        others = ", ".join(label_of(name) for name in LEARNERS if name not in learners)
        return f"all but {others}" if others else "all"
    gans = [name for name in LEARNERS[2:] if _is_gan(name)]
    together = set(gans) <= set(learners)
    names = [label_of(name) for name in learners if not (together and name in gans)]
    return ", ".join([*names, *(["the other GANs"] if together else [])])


def _is_gan(name: str) -> bool:
    return issubclass(METHODS[name.partition("-")[0]].settings, settings.GANSettings)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _recipes() -> list[tuple[str, settings.Recipe]]:
    """The recipes by the headings of their columns."""
    kinds = {"": settings.RECIPES, ", the other GANs": settings.GAN_RECIPES}
    return [
        (f"{name}{whose}", kind[name]) for whose, kind in kinds.items() for name in settings.RECIPES
    ]


def _recipe_rows() -> Iterator[list[str]]:
    about = attributes(settings.Recipe)
    for field in dataclasses.fields(settings.Recipe):
        cells = [_value(getattr(recipe, field.name)) for _, recipe in _recipes()]
        yield [f"`{field.name}`", _escaped(about[field.name]), *cells]


def attributes(kind: type) -> dict[str, str]:
    """The attributes that a class's docstring describes, by name."""
    _, _, block = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", block, re.M)
    return {name: " ".join(text.split()) for name, text in found}


# Markdown.


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    return tables.markdown_table(header, rows)


def _escaped(text: str) -> str:
    """Plain text as Markdown: nothing in it is a tag, a cell's end or emphasis."""
    plain = html.escape(text, quote=False)
    code = re.split(r"(`[^`]*`)", plain)
    code[::2] = [re.sub(r"([*_|\\{}])", r"\\\1", part) for part in code[::2]]
    return "".join(code)


# The finished site.


def foreign(page: str) -> list[str]:
    """What a page of HTML loads from other hosts; a link that a reader may follow is none."""
    found = _Loaded()
    found.feed(page)
    return found.foreign


class _Loaded(HTMLParser):
    """Collects addresses of other hosts that a browser would ask by itself."""

    _HOST = re.compile(r"(?:https?:)?//[\w.-]+\.\w")
    _IN_CODE = re.compile(
        r"(?:import\(|src\s*=|url\(|@import|fetch\()\s*[\"']?((?:https?:)?//[^\"')]+)"
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.foreign: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._inside = tag if tag in ("script", "style") else ""
        names = ["src", "srcset", "data", "poster"]
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "alternate"):
            names.append("href")
        if tag in ("use", "image"):
            names += ["href", "xlink:href"]
        loaded = [values.get(name) or "" for name in names]
        self.foreign += [each for each in loaded if self._HOST.match(each)]
        self.foreign += self._IN_CODE.findall(values.get("style") or "")
        if "mermaid" in (values.get("class") or "").split():  # the theme fetches its program
            self.foreign.append("mermaid")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.foreign += self._IN_CODE.findall(data)


def without_programs(page: str) -> str:
    """A notebook's page without the scripts that fetch programs for formulas and diagrams."""
    return re.sub(
        r"<script\b.*?</script>",
        lambda script: "" if re.search("mathjax|mermaid", script[0], re.I) else script[0],
        page,
        flags=re.S,
    )


# What MkDocs calls.


# The pages that have no file here.
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
}


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages."""
    from mkdocs.structure.files import File

    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Takes from notebooks what would ask another host, and leads their links to pages."""
    del config
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return with_links(without_programs(html), page.file, files)


def with_links(html: str, notebook: Any, files: Any) -> str:
    """HTML of a notebook whose links to other sources are links to their pages.

    MkDocs does this for Markdown only.

    Raises:
        PluginError: a link leads to no page.
    """
    from mkdocs.exceptions import PluginError

    def link(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(notebook.src_uri), found[1]))
        target = files.get_file_from_path(path)
        if target is None:
            raise PluginError(f"{notebook.src_uri} links to {found[1]}, which is no page")
        return f'href="{target.url_relative_to(notebook)}{found[2] or ""}"'

    return re.sub(r'href="(?!\w+:)([^"#]+\.(?:md|ipynb))(#[^"]*)?"', link, html)


def on_post_build(config: Any) -> None:
    """Ends a build whose pages would ask another host."""
    from mkdocs.exceptions import PluginError

    site = Path(config["site_dir"])
    for path in sorted(site.rglob("*.html")):
        if found := foreign(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(site)} loads from another host: {found[0]}")
