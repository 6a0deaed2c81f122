"""The gallery between its marks in README.md."""

import pathlib
import re
import shutil

import pytest

from dgm_tf.errors import InputError
from dgm_tf.reporting import gallery
from tests.reporting.drawn import same_picture, shapes
from tests.reporting.example import description, row, write_run

TEXT = (
    f"# A title\n\n{gallery.BEGIN}\nold\n{gallery.END}\n\n"
    f"{gallery.TABLE_BEGIN}\nold\n{gallery.TABLE_END}\n\nThe rest.\n"
)


ROOT = pathlib.Path(__file__).parents[2]


def repository(tmp_path, text=TEXT):
    (tmp_path / "README.md").write_text(text)
    for seed in (0, 1):
        folder = tmp_path / "results" / "toys-3" / "dgm-w" / f"seed{seed}"
        write_run(folder, [row(1), row(2)], description(seed=seed), samples=[2])
    joint = [row(1, generates=False)]
    write_run(tmp_path / "results/toys-3/joint/seed0", joint, description(learner="joint"))
    write_run(tmp_path / "results/more-3/dgm-w/seed0", [])  # just begun
    return tmp_path


def test_it_takes_the_place_of_the_old_one_and_its_pictures_are_there(tmp_path):
    root = repository(tmp_path)
    written = {path.relative_to(root).as_posix() for path in gallery.write_gallery(root)}
    figures = {f"docs/gallery/toys-3-{kind}.svg" for kind in ("accuracy", "growth")}
    assert written == {"README.md", *figures}
    text = (root / "README.md").read_text()
    assert text.startswith("# A title\n\n") and text.endswith("\n\nThe rest.\n")
    assert "\nold\n" not in text and gallery.markdown(root) in text
    assert f"{gallery.TABLE_BEGIN}\n{gallery.tables(root)}\n{gallery.TABLE_END}" in text
    assert all(f'src="{path}"' in text for path in figures)
    assert 'src="results/toys-3/dgm-w/seed0/samples/task-02.png"' in text
    assert "DGMw, seed 0 (n = 1), after task 2" in text and "more-3" not in text


def test_drawing_it_again_changes_nothing(tmp_path):
    root = repository(tmp_path)
    first = {path: path.read_bytes() for path in gallery.write_gallery(root)}
    assert {path: path.read_bytes() for path in gallery.write_gallery(root)} == first


def test_a_readme_without_marks_is_left_as_it_is(tmp_path):
    root = repository(tmp_path, "# A title\n")
    with pytest.raises(InputError, match="gallery:begin"):
        gallery.write_gallery(root)
    assert (root / "README.md").read_text() == "# A title\n"


def test_the_committed_pictures_are_those_of_the_committed_results():
    wanted = gallery.pictures(ROOT)
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/gallery").iterdir()}
    assert kept == set(wanted)
    for path, svg in wanted.items():
        assert len(shapes(svg)) > 5
        assert same_picture((ROOT / path).read_bytes(), svg), (
            f"{path} is of other results; python -m trainers.gallery draws it anew"
        )


def test_a_result_that_changed_would_be_seen(tmp_path):
    """One accuracy of one run, by half a percent."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    (metrics,) = tmp_path.glob("results/svhn_cropped-10/dgm-w/seed0/metrics.jsonl")
    lines = metrics.read_text().splitlines(keepends=True)
    lines[4] = re.sub(
        r'("average_accuracy": )([\d.]+)', lambda m: f"{m[1]}{float(m[2]) - 0.005}", lines[4]
    )
    metrics.write_text("".join(lines))
    path = "docs/gallery/svhn_cropped-10-accuracy.svg"
    assert not same_picture((ROOT / path).read_bytes(), gallery.pictures(tmp_path)[path])
