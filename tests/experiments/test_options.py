"""Options as values: the stream that they open, the settings that they lead to."""

import pytest
from PIL import Image

from dgm_tf.data.stream import class_incremental
from dgm_tf.errors import InputError
from dgm_tf.experiments.options import (
    FOLDER,
    RunOptions,
    SettingsOptions,
    StreamOptions,
    texts,
)
from dgm_tf.methods.presets import settings_for


def test_the_stream_is_the_one_that_was_asked_for():
    wanted = {
        "classes_per_task": (7, 3), "class_order": "random", "validation_fraction": 0.3,
        "image_size": 24,
    }  # fmt: skip
    expected = class_incremental("digits", **wanted, seed=5)
    assert StreamOptions("digits", **wanted).open(5).describe() == expected.describe()


def test_a_folder_of_images_is_read_in_the_size_that_was_asked_for(tmp_path):
    for name, level in (("cats", 40), ("dogs", 200)):
        (tmp_path / name).mkdir()
        for index in range(10):
            Image.new("RGB", (20, 20), (level, index, 0)).save(tmp_path / name / f"{index}.png")
    stream = StreamOptions(FOLDER, images=str(tmp_path), image_size=24).open(0)
    assert stream.class_names == ("cats", "dogs") and stream.image_shape == (24, 24, 3)


@pytest.mark.parametrize("options", [{"dataset": FOLDER}, {"dataset": "digits", "images": "x"}])
def test_images_belong_to_the_data_set_folder(options):
    with pytest.raises(InputError, match="expected --images=DIR"):
        StreamOptions(**options)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3,7", ("3", "7")),
        (" cat , big dog", ("cat", "big dog")),
        ('"red, ripe", "green",O\'Brien', ("red, ripe", "green", "O'Brien")),
        ('19" rack,"19"" rack"', ('19" rack', '19" rack')),
    ],
)
def test_a_text_with_commas_stands_in_quotes(text, parts):
    assert texts(text) == parts


@pytest.mark.parametrize("text", ["", "a,", ",a", "a, ,b", '""', '"a', '"a"b', "a\nb"])
def test_texts_that_are_no_list_are_refused(text):
    with pytest.raises(ValueError, match="expected texts such as"):
        texts(text)


def test_what_to_export_needs_a_place():
    with pytest.raises(InputError, match="name an --export_dir, too"):
        RunOptions(export_classifier=True)


def test_settings_are_the_presets_the_texts_and_the_overrides_in_turn():
    text = '{"preset": "paper", "s_max": 500, "sparsity": 0.5}'
    found = SettingsOptions(settings=text).resolve("digits", {"s_max": 7.0})
    assert found == settings_for("digits", preset="paper", s_max=7.0, sparsity=0.5)
    found = SettingsOptions(settings=text, preset="tuned").resolve("digits", {})
    assert found == settings_for("digits", preset="tuned", s_max=500.0, sparsity=0.5)


def test_data_of_ones_own_has_no_preset():
    assert SettingsOptions().resolve(FOLDER, {}) == settings_for(None)


def test_a_setting_of_another_method_is_refused():
    with pytest.raises(InputError, match="--s_max means nothing to --method=joint: leave it out"):
        SettingsOptions("joint").resolve("digits", {"s_max": 7.0})
