"""A font for names in any script, among those that this machine has."""

import functools

from matplotlib import font_manager

USUAL = "DejaVu Sans"  # comes with matplotlib
_BOXES = "Last Resort"  # has every letter, as a box


def missing(text: str) -> frozenset[str]:
    """The letters that the usual font does not have."""
    return frozenset(letter for letter in text if ord(letter) not in _letters(_usual_path()))


@functools.cache
def with_letters(letters: frozenset[str]) -> tuple[str, str] | None:
    """Family and file of a font that has all of these letters; None where no font has.

    The usual font comes first, and then the others by name.
    """
    wanted = set(map(ord, letters))
    others = sorted({font.name for font in font_manager.fontManager.ttflist} - {USUAL})
    for family in (USUAL, *others):
        upright = font_manager.FontProperties(family=[family])
        path = font_manager.findfont(upright)
        if _BOXES not in family and wanted <= _letters(path):
            return family, path
    return None


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The letters of a font that can be drawn at any size; fonts of coloured pictures cannot."""
    try:
        font = font_manager.get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):  # a file that has gone, or is no font after all
        return frozenset()


def _usual_path() -> str:
    return font_manager.findfont(USUAL)
