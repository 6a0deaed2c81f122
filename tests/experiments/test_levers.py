"""The study of settings: what is planned, and the table of what is there."""

import pathlib

import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments import grid, levers
from dgm_tf.settings import settings_for
from tests.reporting import drawn
from tests.reporting.example import description, row, write_run
from trainers import flags
from trainers import levers as trainer

ROOT = pathlib.Path(__file__).parents[2]


def test_every_command_is_one_that_its_trainer_takes_and_changes_what_it_says():
    planned = levers.plan(list(levers.LEVERS), list(levers.BUDGETS), [0, 2], "r")
    assert len({run.folder for run in planned}) == len(planned)
    found = {}
    for run in planned:
        _, _, _, *arguments = run.command
        given = flags.define(run.dataset).parse(arguments, program="p", about="")
        assert given["run_dir"] == run.folder and (given["tasks"] or 10) == run.tasks
        found[run.root, run.dataset, run.seed] = given["settings"]
    for (root, dataset, seed), settings in found.items():
        base = found[f"r/{levers.BASE}", dataset, seed]
        changed = levers.LEVERS[root.removeprefix("r/")].changed(base)
        assert {**vars(base), **changed} == vars(settings)
        assert all(vars(base)[name] != value for name, value in changed.items())


@pytest.fixture
def results(tmp_path):
    """Runs whose A is made up: 0.8 and 0.6 by default, 0.1 and 0.3 more for a lever."""
    for lever, gains in ((levers.BASE, (0, 0)), ("critic-32", (0.1, 0.3))):
        for seed, (accuracy, gain) in enumerate(zip((0.8, 0.6), gains, strict=True)):
            rows = [row(task) for task in range(1, 11)]
            rows[-1] |= {"average_accuracy": accuracy + gain, "oracle_accuracy": 0.9}
            folder = tmp_path / lever / "digits-10" / "dgm-w" / f"seed{seed}"
            write_run(folder, rows, description(tasks=10, seed=seed))
    unfinished = tmp_path / "critic-32" / "digits-10" / "dgm-w" / "seed2"
    write_run(unfinished, [row(1)], description(tasks=10, seed=2))
    return tmp_path


def test_a_change_is_taken_seed_by_seed(results):
    text = levers.markdown(results)
    title = "Class-incremental, 10 tasks of 1 class, toys; after task 10."
    assert text.startswith(f"{title}\n\n| lever | n | change of A | A | G | ")
    base, lever = text.splitlines()[-2:]
    assert base.startswith(
        "| the base: the defaults with g = 20 and a classifier begun anew | 2 |  | 70.00 ± 14.14 | "
        "90.00 ± 0.00 | n/a | "
    )
    # Apart, the two differ by 20 ± some 14; seed by seed by 10 and 30.
    assert lever.startswith("| a critic of d = 32 | 2 | 20.00 ± 14.14 | 90.00 ± 0.00 | 90.00 ± ")
    assert "fashion" not in text


def test_the_table_goes_between_its_marks(results, capsys):
    page = results / "page.md"
    page.write_text(f"# Before\n{levers.BEGIN}\nold\n{levers.END}\nAfter\n")
    arguments = [f"--results={results}", f"--out={page}", "--nolearn"]
    assert trainer.main(arguments) == 0
    wanted = f"# Before\n{levers.BEGIN}\n{levers.markdown(results)}\n{levers.END}\nAfter\n"
    assert page.read_text() == wanted
    assert capsys.readouterr().out == f"{page}\n"
    assert trainer.main([arguments[0], "--nolearn"]) == 0
    assert capsys.readouterr().out == f"{levers.markdown(results)}\n"


def test_accuracy_is_drawn_against_size_for_the_levers_on_size_alone(results, capsys):
    assert levers.size_figure(results, "digits") is None  # the base alone
    made_up = ("sparsity-high", 500, 0.6), ("generator-32", 3000, 0.65), ("generator-12", 800, 0.5)
    for lever, parameters, accuracy in made_up:
        rows = [row(task) for task in range(1, 11)]
        rows[-1] |= {"average_accuracy": accuracy, "generator_parameters": parameters}
        write_run(results / lever / "digits-10" / "dgm-w" / "seed0", rows, description(tasks=10))
    (axes,) = levers.size_figure(results, "digits").axes
    lines = drawn.named_lines(axes)
    base, todays = [1, pytest.approx(70)], [0.8, 50]
    assert sorted(lines["mean over seeds"]) == [[0.5, 60], todays, base, [3, 65]]
    # More parameters than the base's for less accuracy: not on the front.
    assert lines["Pareto front"] == [[0.5, 60], base]
    assert settings_for("digits", "w").generator_size == 12
    assert lines["g and lambda of the defaults"] == [todays]
    beside = {text.get_text(): list(text.xy) for text in axes.texts}
    assert beside == {
        "base": base, "sparsity-high": [0.5, 60], "generator-32": [3, 65], "generator-12": todays
    }  # fmt: skip
    page = results / "page.md"
    page.write_text(f"{levers.BEGIN}\n{levers.END}\n")
    assert trainer.main([f"--results={results}", f"--out={page}", "--nolearn"]) == 0
    picture = results / "levers" / "size-digits.svg"
    assert capsys.readouterr().out == f"{picture}\n{page}\n"
    assert picture.read_bytes() == levers.pictures(results)["levers/size-digits.svg"]
    assert '<img src="levers/size-digits.svg" ' in page.read_text()


def test_only_what_is_missing_is_learnt(results, monkeypatch, capsys):
    started = []

    class Failing:
        def __init__(self, command, **_):
            started.append(command)

        def poll(self):
            return 2

        def wait(self):
            pass

    monkeypatch.setattr(grid.subprocess, "Popen", Failing)
    page = results / "page.md"
    page.write_text(f"{levers.BEGIN}\n{levers.END}\n")
    arguments = ["--levers=base,critic-32", "--datasets=digits", f"--results={results}"]
    assert trainer.main([*arguments, f"--out={page}"]) == 2
    assert [command[-2].rpartition("/")[2] for command in started] == ["seed2", "seed2"]
    assert "2 runs failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--levers=x", "unknown lever x; known are base"),
        ("--datasets=mnist", "unknown data set mnist; known are digits"),
        ("--seeds=a", "expected --seeds"),
        ("--out=nowhere.md", "cannot read nowhere.md"),
    ],
)
def test_what_cannot_be_done_is_one_line(results, wrong, said, capsys):
    assert trainer.main([f"--results={results}", "--nolearn", wrong]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_no_run_is_no_table(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        levers.markdown(tmp_path)


def test_the_committed_page_has_the_levers_of_the_committed_results():
    page = ROOT / "docs" / "accuracy.md"
    pictures = levers.pictures(ROOT / "results/levers")
    text = levers.markdown(ROOT / "results/levers", shown=pictures)
    again = "python -m trainers.levers --nolearn --out=docs/accuracy.md writes it anew"
    assert f"{levers.BEGIN}\n{text}\n{levers.END}\n" in page.read_text(), again
    kept = {f"levers/{path.name}" for path in (page.parent / "levers").iterdir()}
    assert kept == set(pictures)
    for name, svg in pictures.items():
        assert drawn.same_picture((page.parent / name).read_bytes(), svg), again
