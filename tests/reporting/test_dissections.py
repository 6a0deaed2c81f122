"""What taking runs apart has shown, as tables."""

import dataclasses
import json

import pytest

from dgm_tf.errors import InputError
from dgm_tf.reporting import dissections, gallery
from dgm_tf.settings import settings_for
from tests.reporting.example import description, row, write_run
from tests.reporting.test_gallery import ROOT, repository


def arm(first, second, newest_share):
    shares = {"3": first, "1": second}
    mean = (first + second) / 2
    return {"accuracy": mean, "class_accuracy": shares, "newest_share": newest_share}


def quality(recognised, distance):
    return {
        "recognised": recognised, "frechet_distance": distance, "precision": 0.25, "recall": 0.125,
        "compared": 40,
    }  # fmt: skip


FOUND = {
    "task": 2,
    "steps": 1200,
    "arms": {
        "real": arm(1.0, 0.9, 0.41),
        "generated": arm(0.75, 0.5, 0.42),
        "real newest": arm(0.5, 0.25, 0.93),
    },
    "own": arm(0.8, 0.6, 0.44),
    "newest_in_test": 0.4,
    "oracle_test_accuracy": 0.98,
    "quality": {"3": quality(0.9, 1.5), "1": quality(0.8, 12.345)},
}
RUN = "| toys, DGMw, seed 4 | 2 |"


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results" / "toys-3" / "dgm-w" / "seed4"
    write_run(folder, [row(1), row(2)], description(tasks=2, seed=4))
    (folder / dissections.FILE).write_text(json.dumps(FOUND))
    return tmp_path / "results"


def test_each_run_has_a_line_and_each_of_its_classes_a_column(results):
    classifiers = (
        "| run | after task | steps | real images | recognised ones | generated ones | "
        "real newest, generated old | the run's own"
    )
    assert dissections.markdown(results) == "\n".join(
        [
            "A, by what a classifier is trained on:",
            "",
            f"{classifiers} | generated images recognised | real ones recognised |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            f"{RUN} 1200 | 95.00 | n/a | 62.50 | 37.50 | 70.00 | 85.00 | 98.00 |",
            "",
            "Share of the test set that it takes for the newest task's classes:",
            "",
            f"{classifiers} | are of them |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            f"{RUN} 1200 | 41.00 | n/a | 42.00 | 93.00 | 44.00 | 40.00 |",
            "",
            "toys, DGMw, seed 4, class by class:",
            "",
            "| class | 3 | 1 |",
            "| --- | --- | --- |",
            "| generated images recognised | 90.00 | 80.00 |",
            "| Frechet distance | 1.50 | 12.35 |",
            "| precision | 25.00 | 25.00 |",
            "| recall | 12.50 | 12.50 |",
            "| accuracy, real images | 100.00 | 90.00 |",
            "| accuracy, generated ones | 75.00 | 50.00 |",
        ]
    )


def test_a_run_taken_apart_twice_has_a_line_for_each_and_its_classes_once(results):
    once = dissections.markdown(results).splitlines()
    (folder,) = results.glob("*/*/*")
    again = FOUND | {"steps": 3600, "own": arm(0.9, 0.7, 0.45)}
    (folder / "dissection-3600.json").write_text(json.dumps(again))
    twice = dissections.markdown(results).splitlines()
    assert [(place, line) for place, line in enumerate(twice) if "3600" in line] == [
        (5, f"{RUN} 3600 | 95.00 | n/a | 62.50 | 37.50 | 80.00 | 85.00 | 98.00 |"),
        (12, f"{RUN} 3600 | 41.00 | n/a | 42.00 | 93.00 | 45.00 | 40.00 |"),
    ]
    assert [line for line in twice if "3600" not in line] == once


def test_a_run_by_other_settings_has_their_name(results):
    folder = results / "variations" / "wider" / "toys-3" / "dgm-w" / "seed4"
    write_run(folder, [row(1), row(2)], description(tasks=2, seed=4))
    (folder / dissections.FILE).write_text(json.dumps(FOUND))
    lines = dissections.markdown(results).splitlines()
    assert [line[: line.index(" | 2 |")] for line in lines[4:6]] == [
        "| toys, DGMw, seed 4", "| toys, DGMw, seed 4 (wider)",
    ]  # fmt: skip


def test_the_page_is_written_with_the_gallery(results, tmp_path):
    root = repository(tmp_path)
    page = root / gallery.PAGE
    assert page not in gallery.write_gallery(root)
    parts = gallery.page_parts(root)
    assert parts[dissections.BEGIN, dissections.END] == dissections.markdown(results)
    page.parent.mkdir(exist_ok=True)
    page.write_text("".join(f"Before\n{begin}\nold\n{end}\nAfter\n" for begin, end in parts))
    assert page in gallery.write_gallery(root)
    assert page.read_text() == "".join(
        f"Before\n{begin}\n{new}\n{end}\nAfter\n" for (begin, end), new in parts.items()
    )


def test_the_page_has_dgm_and_joint_training_by_todays_defaults(results):
    def described(learner, seed, **changes):
        method, _, variant = learner.partition("-")
        settings = settings_for("toys", variant or None, method=method, seed=seed)
        changed = dataclasses.asdict(settings) | changes
        return description(tasks=2, learner=learner, seed=seed) | {
            "settings": changed, "command": f"{learner} {seed}",
        }  # fmt: skip

    runs = {
        "toys-2/dgm-w/seed1": described("dgm-w", 1),
        "toys-2/dgm-w/seed2": described("dgm-w", 2, annealed_share=1.0),
        "toys-2/ewc/seed1": described("ewc", 1),
        "accuracy/toys-2/joint/seed1": described("joint", 1),
        "accuracy/toys-2/dgm-a/seed1": described("dgm-a", 1),
    }
    for folder, its in runs.items():
        write_run(results / folder, [row(1), row(2)], its)
    found = gallery.page_parts(results.parent)[gallery.RUNS_BEGIN, gallery.RUNS_END]
    made_by = found.partition("Made by\n\n")[2].split("\n")
    assert made_by == ["    joint 1", "    dgm-w 1", "    dgm-a 1"]


def test_the_committed_page_is_of_the_committed_results():
    text = (ROOT / gallery.PAGE).read_text()
    for (begin, end), new in gallery.page_parts(ROOT).items():
        assert f"{begin}\n{new}\n{end}\n" in text, "python -m trainers.gallery writes it anew"


def test_what_cannot_be_read_is_said(results, tmp_path):
    with pytest.raises(InputError, match="write one by python -m trainers.dissect"):
        dissections.markdown(tmp_path / "nothing")
    (results / "toys-3" / "dgm-w" / "seed4" / dissections.FILE).write_text("{")
    with pytest.raises(InputError, match="write it anew by trainers.dissect"):
        dissections.markdown(results)
