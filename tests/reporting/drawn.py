"""The content of a figure, read back from it."""

import numpy as np


def named_lines(axes):
    """Points [N, 2] of each line with a name in the legend, rounded, by name."""
    return {
        line.get_label(): np.round(line.get_xydata(), 9).tolist()
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def nameless_lines(axes):
    """Points of each line that the legend does not name, in the order drawn."""
    return [
        np.round(line.get_xydata(), 9).tolist()
        for line in axes.lines
        if line.get_label().startswith("_")
    ]


def bands(axes):
    """(x, low, high) at each point of each band, in the order drawn."""
    found = []
    for band in axes.collections:
        corners = np.round(band.get_paths()[0].vertices, 9)
        found.append(
            [
                (x, corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max())
                for x in np.unique(corners[:, 0])
            ]
        )
    return found


def bars(axes):
    """(middle, bottom, top) of each bar, by name in the legend."""
    return {
        group.get_label(): [
            tuple(
                round(float(value), 9)
                for value in (
                    bar.get_x() + bar.get_width() / 2,
                    bar.get_y(),
                    bar.get_y() + bar.get_height(),
                )
            )
            for bar in group
        ]
        for group in axes.containers
        if hasattr(group, "patches")
    }


def whiskers(axes):
    """(x, low, high) of every whisker, in the order drawn."""
    found = []
    for group in axes.containers:
        if hasattr(group, "has_yerr"):
            (segments,) = group.lines[2]
            found += [
                (round(float(x), 9), round(float(low), 9), round(float(high), 9))
                for (x, low), (_, high) in segments.get_segments()
            ]
    return found


def legend(axes):
    """The names in the legend, in order."""
    box = axes.get_legend()
    return [text.get_text() for text in box.get_texts()] if box else []
