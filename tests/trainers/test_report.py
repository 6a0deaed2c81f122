"""`python -m trainers.report` as a user types it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dgm_tf.reporting import page
from tests.reporting.example import description, row, write_run
from trainers import report

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path):
    made = [
        write_run(tmp_path / f"seed{seed}", [row(1), row(2)], description(seed=seed))
        for seed in (0, 1)
    ]
    return [str(folder) for folder in made]


def test_one_run_gets_its_page(runs, capsys):
    assert report.main(runs[:1]) == 0
    written = capsys.readouterr().out.strip()
    assert written == f"{runs[0]}/report.html" and "DGMw" in Path(written).read_text()


def test_several_runs_get_a_page_next_to_them(runs, tmp_path, capsys):
    assert report.main(runs) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert report.main([*runs, f"--out={tmp_path}/other.html"]) == 0
    assert "(n = 2)" in (tmp_path / "other.html").read_text()


def test_a_figure_is_drawn_where_it_is_wanted(runs, tmp_path, capsys):
    assert report.main(["--figure=growth", *runs, f"--out={tmp_path}/f/growth.png"]) == 0
    png, svg = capsys.readouterr().out.split()
    assert (png, svg) == (f"{tmp_path}/f/growth.png", f"{tmp_path}/f/growth.svg")
    with Image.open(png) as picture:
        assert picture.width > 600
    assert b"<svg" in Path(svg).read_bytes()


@pytest.mark.parametrize("out", ["f.jpg", ".png", ".svg", "week1/", "new/", "week1"])
def test_a_figure_goes_to_files_that_are_named(runs, tmp_path, out, capsys):
    (tmp_path / "week1").mkdir()
    before = {*tmp_path.iterdir()}
    assert report.main(["--figure=growth", *runs, f"--out={tmp_path}/{out}"]) == 2
    assert "expected a PNG or SVG file for --out, received " in capsys.readouterr().err
    assert {*tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("out", "wanted"),
    [
        ("seed0", "expected a file for --out, received the folder "),
        ("new/", "expected a file for --out, received the folder "),
        ("seed0/settings.json/x.html", "cannot write to "),
    ],
)
def test_a_page_that_cannot_be_written_is_not_drawn(
    runs, tmp_path, out, wanted, monkeypatch, capsys
):
    monkeypatch.setattr(page, "page_of", lambda runs: 1 / 0)
    assert report.main([*runs, f"--out={tmp_path}/{out}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {wanted}") and error.count("\n") == 1


def test_text_prints_the_tables_of_each_run_and_writes_nothing(runs, tmp_path, capsys):
    assert report.main(["--text", *runs]) == 0
    shown = capsys.readouterr().out
    assert shown.count("worst case") == 2
    *_, compared = shown.split("\n\n\n")
    assert re.search(r"DGMw +2 .*2 of 3 +20 +n/a +2 of 2$", compared, re.M)
    assert "task 1: identical after 1 later task" in shown
    assert not list(tmp_path.rglob("report.html"))


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "expected one RUN or more"),
        (["nowhere"], "expected the folder of a run"),
        (["--figure=pie", "nowhere"], "expected growth or accuracy"),
        (["--figur=growth"], "unknown command line flag"),
        (["--text", "--out=x", "nowhere"], "expected --text only"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, wanted, capsys):
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and wanted in error


def test_neither_help_nor_a_page_waits_for_tensorflow(runs):
    program = (
        "import sys; from trainers import report; "
        f"codes = [report.main(a) for a in (['--help'], ['--text', {runs[0]!r}], [{runs[0]!r}])]; "
        "sys.exit(f'{codes} {\"tensorflow\" in sys.modules}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stderr.splitlines()[-1] == "[0, 0, 0] False"
    assert "--figure=growth|accuracy" in done.stdout
