"""Where many runs look: rows of seeds, classes, steps, correlations and the picture, against the evaluations."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.common.files import write_json
from experiments.runs.evaluation import evaluate
from experiments.tables.bootstrap import correlations
from experiments.tables.localisation_table import correlation_text, localisation_table

WIDTH, HEIGHT, FRAMES = 64, 48, 7  # Of the clips.


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """Random boxes in every frame of the test clips."""
    path, random = tmp_path_factory.mktemp("boxes") / "boxes.csv", np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "frame", "x0", "y0", "x1", "y1"])
        for name in (f"{label}/clip {group} (#1).avi" for group in (4, 5) for label in ("jump", "run", "wave")):
            for frame in range(FRAMES):
                (x0, x1), (y0, y1) = (np.sort(random.choice(n, 2, False)) for n in (WIDTH + 1, HEIGHT + 1))
                lines.writerow([name, frame, x0, y0, x1, y1])
    return path


@pytest.fixture(scope="module")
def seeds(small_run, tmp_path_factory):
    """The small run, and copies of it that call themselves seed 1, and seed 0 with another weight decay."""
    folder = tmp_path_factory.mktemp("seeds")
    for name, part, flag, value in (("seed_1", "training", "seed", 1), ("other", "objective", "weight_decay", 0.5)):
        shutil.copytree(small_run, folder / name)
        config = json.loads((folder / name / "config.json").read_text())
        config[part][flag] = value
        config["model"]["level_scales"] = name  # Measured on each run's own clips, and without effect on one level.
        write_json(folder / name / "config.json", config)
    return [small_run, folder / "seed_1", folder / "other"]


@pytest.mark.slow
def test_rows_are_the_means_of_the_evaluations(seeds, boxes, clips, tmp_path):
    scores, folder, _ = evaluate(seeds[0], boxes=boxes, data_dir=clips, output=tmp_path / "scores.json")
    expected = scores["localisation"]
    paths = localisation_table(seeds, boxes, tmp_path / "table", data_dir=clips)
    assert [path.name for path in paths] == ["table.md", "table.csv", "table.json", "table.png"]
    first, second = csv.DictReader(io.StringIO(paths[1].read_text(encoding="utf-8")))
    assert (first["seeds"], second["seeds"]) == ("2", "1")
    assert first["attention in the box, %"] == f"{100 * expected['mass']:.1f} ± 0.0"
    assert second["attention in the box, %"] == f"{100 * expected['mass']:.1f}"
    assert first["times uniform"] == f"{expected['ratio']:.2f} ± 0.00"
    assert first["strongest cell in the box, %"] == f"{100 * expected['pointing']:.1f} ± 0.0"
    assert first["entropy, nats"] == f"{expected['entropy']:.2f} ± 0.00"
    assert (first["clips"], first["T"], first["d"], first["network"]) == ("6", "4", "8", "none")
    assert first["box, % of the frame"] == f"{100 * expected['area']:.1f}"

    data = json.loads(paths[2].read_text(encoding="utf-8"))
    titles = [row["title"] for row in data["rows"]]
    assert titles == ["soft attention, λ = 0 (1)", "soft attention, λ = 0 (2)"]
    for name, by_class in expected["by_class"].items():
        found = data["by_class"][name][titles[0]]
        assert found["num_clips"] == by_class["num_clips"] == 2
        assert found["mass"] == pytest.approx(by_class["mass"], abs=1e-6)
    steps = data["rows"][0]["by_step"]
    assert [step["step"] for step in steps] == [1, 2, 3, 4]
    assert steps[2]["mass"] == pytest.approx(expected["by_step"][2]["mass"])
    with (folder / "localisation.csv").open(encoding="utf-8") as lines:
        mass = [float(line["mass"]) for line in csv.DictReader(lines)]
    with (folder / "predictions.csv").open(encoding="utf-8") as lines:
        right = [int(line["correct"]) for line in csv.DictReader(lines)]
    found = data["rows"][0]["correlation_mass_right"]
    if len(set(right)) == 1:
        assert found is None and first["r(mass, right)"] == "–"
    else:
        assert found["mean"] == pytest.approx(np.corrcoef(mass, right)[0, 1])
    text = paths[0].read_text(encoding="utf-8")
    assert "| class | clips | box, % | soft attention, λ = 0 (1) |" in text and "| step | " in text
    with Image.open(paths[3]) as picture:
        assert picture.size[0] > 1000
    with pytest.raises(InputError, match="another run has its flags, its seed and its clips"):
        localisation_table([seeds[0], seeds[0]], boxes, tmp_path / "twice", data_dir=clips)


@pytest.mark.slow
def test_drawn_places_are_compared_under_each_rule_and_seeds_that_began_with_other_runs_are_one_row(
    small_run, boxes, clips, tmp_path
):
    for seed in (0, 1):
        shutil.copytree(small_run, tmp_path / f"hard_{seed}")
        path = tmp_path / f"hard_{seed}" / "config.json"
        config = json.loads(path.read_text())
        config["training"]["seed"] = seed
        config["attention"] |= {"attention": "hard", "init_from": f"soft_{seed}"}
        write_json(path, config)
    workdirs = [tmp_path / "hard_0", tmp_path / "hard_1", small_run]
    paths = localisation_table(workdirs, boxes, tmp_path / "table", data_dir=clips, clip="wave/clip 5 (#1).avi")
    assert paths[-1].name == "table_clip.png"
    with Image.open(paths[-1]) as strips:
        assert strips.height > 5 * 120 and strips.width > 5 * 100  # The frames, and four rows of the table.
    rows = list(csv.DictReader(io.StringIO(paths[1].read_text(encoding="utf-8"))))
    titles = [f"hard attention, λ = 0, {rule}" for rule in ("argmax", "sample", "expectation")]
    assert [row["model"] for row in rows] == [*titles, "soft attention, λ = 0"]
    assert [row["seeds"] for row in rows] == ["2", "2", "2", "1"]
    argmax, sample, expectation, soft = (row["attention in the box, %"].split()[0] for row in rows)
    with pytest.raises(InputError, match=r"nothing\.avi: no clip of that name"):
        localisation_table([small_run], boxes, tmp_path / "none", data_dir=clips, clip="nothing.avi")
    assert expectation == soft and len({argmax, sample, soft}) == 3


@pytest.mark.slow
def test_the_evidence_has_a_table_too(small_run, boxes, clips, tmp_path):
    paths = localisation_table([small_run], boxes, tmp_path / "table", data_dir=clips, explain="evidence")
    scores, _, _ = evaluate(small_run, boxes=boxes, data_dir=clips, output=tmp_path / "s.json", explain="evidence")
    (row,) = csv.DictReader(io.StringIO(paths[1].read_text(encoding="utf-8")))
    assert row["evidence in the box, %"] == f"{100 * scores['localisation']['mass']:.1f}"
    assert json.loads(paths[2].read_text(encoding="utf-8"))["explain"] == "evidence"
    assert "# Is the action what speaks for the class?" in paths[0].read_text(encoding="utf-8")


def test_correlations_of_draws_are_pearsons():
    random = np.random.default_rng(0)
    values, right = random.normal(size=30), random.integers(0, 2, 30)
    draws = random.integers(0, 30, (5, 30))
    counts = np.array([np.bincount(drawn, minlength=30) for drawn in draws])
    expected = [np.corrcoef(values[drawn], right[drawn])[0, 1] for drawn in draws]
    np.testing.assert_allclose(correlations(values, right, counts), expected, rtol=1e-10)
    assert np.isnan(correlations(values, np.ones(30), counts)).all()
    assert correlation_text({"mean": 0.12, "low": -0.031, "high": 0.26}) == "+0.12 (−0.03 to +0.26)"


def test_a_run_must_be_named_and_have_attention(run_program, boxes):
    with pytest.raises(InputError, match="no run; name the work folders of trained runs"):
        run_program("experiments.localise", f"--boxes={boxes}")
