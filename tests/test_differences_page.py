"""The tables of docs/explanation/differences.md have the numbers of recipes and presets."""

import dataclasses
from pathlib import Path

import pytest

from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.settings import GAN_RECIPES, RECIPES, Recipe
from dgm_tf.reporting.paper import published

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "differences.md"
ONE_CLASS_EACH = [[label] for label in range(10)]


def rows_below(header):
    """Cells of the table whose first line begins with the header, without backticks."""
    table = PAGE.read_text(encoding="utf-8").split(f"\n{header}")[1].split("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def as_shown(value):
    return value if isinstance(value, str) else f"{value:.6g}"


def test_the_recipes_of_dgm_are_those_of_the_settings():
    rows = rows_below("| constant | paper |")
    assert [name for name, *_ in rows] == [field.name for field in dataclasses.fields(Recipe)]
    for name, paper, tuned, _ in rows:
        wanted = [as_shown(getattr(RECIPES[recipe], name)) for recipe in ("paper", "tuned")]
        assert [paper, tuned] == wanted, name


def test_the_recipes_of_the_shared_gan_are_those_of_the_settings():
    rows = rows_below("| constant of the shared GAN |")
    assert rows
    for name, paper, tuned in rows:
        wanted = [as_shown(getattr(GAN_RECIPES[recipe], name)) for recipe in ("paper", "tuned")]
        assert [paper, tuned] == wanted, name
    left_out = {field.name for field in dataclasses.fields(Recipe)} - {name for name, *_ in rows}
    # The GAN has no masks, and its classifier neither teacher nor real images.
    assert left_out == {"annealed_fraction", "real_weight", "distillation_weight"}


def test_the_settings_are_those_of_the_presets():
    presets = [
        settings_for("mnist", variant=variant, preset=preset)
        for preset in ("paper", "tuned")
        for variant in "wa"
    ]
    rows = rows_below("| setting | symbol |")
    assert rows
    for name, _, *shown in rows:
        assert shown == [as_shown(getattr(each, name)) for each in presets]


def test_what_is_said_of_the_papers_svhn_is_its_preset():
    w, a = (settings_for("svhn_cropped", variant=variant, preset="paper") for variant in "wa")
    assert (w.epochs, w.learning_rate, w.critic_learning_rate, w.sparsity) == (
        151, 5e-4, 5e-4, 0.001
    )  # fmt: skip
    assert (a.epochs, a.learning_rate, a.critic_learning_rate) == (151, 5e-4, 5e-4)
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert "151 epochs, rates of 5e-4 and, for DGMw, a sparsity of 0.001" in text


# Table 1 of the paper: MNIST after 5 and 10 tasks, SVHN after 5 and 10.
@pytest.mark.parametrize(
    "learner, measure, percent",
    [
        ("dgm-w", "average_accuracy", [98.26, 96.33, 80.37, 67.05]),
        ("dgm-a", "average_accuracy", [99.17, 98.14, 84.18, 68.36]),
        ("joint", "oracle_accuracy", [97.66, 98.10, 85.30, 84.82]),
        ("ewc", "oracle_accuracy", [70.62, 77.03, 39.84, 33.02]),
        ("dgr", "oracle_accuracy", [90.39, 85.40, 61.29, 47.28]),
        ("mergan_ra", "oracle_accuracy", [98.19, 97.00, 80.90, 66.78]),
    ],
)
def test_the_papers_numbers_are_those_that_reports_have(learner, measure, percent):
    paper = [published(data, learner, ONE_CLASS_EACH) for data in ("mnist", "svhn_cropped")]
    assert {each.key for each in paper} == {measure}
    assert [value for each in paper for value in each.percent.values()] == percent
