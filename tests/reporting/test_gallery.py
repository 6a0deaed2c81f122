"""The gallery between its marks in README.md."""

import pytest

from dgm_tf.errors import InputError
from dgm_tf.reporting import gallery
from tests.reporting.example import description, row, write_run

TEXT = (
    f"# A title\n\n{gallery.BEGIN}\nold\n{gallery.END}\n\n"
    f"{gallery.TABLE_BEGIN}\nold\n{gallery.TABLE_END}\n\nThe rest.\n"
)


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
