"""Fig. 3: its rows, its numbers, and the paper's claims held against them."""

import dataclasses
import json

import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.paper_figures.figure3_penalties import CLAIMS, check_comparable, judge
from experiments.paper_figures.registry import draw_figure
from experiments.paper_figures.runs_shown import Survey


def surveyed(health, **by_video):
    return Survey(np.arange(2), None, {name: np.array(values) for name, values in by_video.items()}, health)


def test_claims_are_held_against_the_numbers_and_reported_as_found():
    surveys = [
        (10.0, surveyed({"entropy": 3.8, "movement": 0.3}, entropy=[3.7, 3.9], movement=[0.2, 0.4])),
        (0.0, surveyed({"entropy": 2.0, "movement": 0.4}, entropy=[1.0, 3.0], movement=[0.1, 0.7])),
        (1.0, surveyed({"entropy": 3.0, "movement": 0.1}, entropy=[3.8, 2.2], movement=[0.1, 0.1])),
        (1.0, surveyed({"entropy": 3.2, "movement": 0.3}, entropy=[3.8, 2.6], movement=[0.3, 0.3])),
    ]
    everywhere, fixed = (judge(surveys, *claim) for claim in CLAIMS)
    assert everywhere["values"] == [
        {"attention_penalty": 0.0, "mean": 2.0},
        {"attention_penalty": 1.0, "mean": pytest.approx(3.1)},
        {"attention_penalty": 10.0, "mean": 3.8},
    ]
    assert (everywhere["holds"], everywhere["margin"]) == (True, pytest.approx(0.7))
    assert (everywhere["num_clips_it_holds_in"], everywhere["num_clips"]) == (1, 2)
    assert (fixed["holds"], fixed["margin"], fixed["num_clips_it_holds_in"]) == (False, pytest.approx(-0.2), 1)
    assert fixed["verdict"] == (
        "That with the smallest λ it stays fixed (the least movement) does not hold here: "
        "0.4000 at λ = 0, 0.2000 at λ = 1, 0.3000 at λ = 10; in 1 of 2 clips."
    )


@pytest.mark.slow
def test_figure_3_has_a_row_for_each_run_and_its_numbers_beside_it(
    small_run, other_run, clips, tmp_path, pixels, colours
):
    paths, remarks = draw_figure(
        "3", [other_run, small_run], data_dir=clips, clips=["wave/clip 5 (#1).avi"], output=tmp_path
    )
    assert [path.name for path in paths] == [f"figure3_wave_clip_5_1_avi.{ending}" for ending in ("png", "json")]
    numbers = json.loads(paths[1].read_text())
    assert [entry["attention_penalty"] for entry in numbers["runs"]] == [0, 10]
    assert (numbers["clip"], numbers["num_clips"]) == ("wave/clip 5 (#1).avi", 6)
    assert [claim["holds"] for claim in numbers["claims"]] == [False, False]  # It is the same model.
    assert len(remarks) == 2 and all("does not hold here" in line and "0 of 6 clips" in line for line in remarks)
    sheet = pixels(paths[0])
    assert sheet.shape[0] == 32 + 28 + 3 * 124 + 18 + 3 * 16 + 4
    np.testing.assert_allclose(sheet[70:170, -150:-20].mean((0, 1)), colours["wave"], atol=12)


@pytest.mark.slow
def test_figure_3_refuses_what_cannot_be_compared(run):
    with pytest.raises(InputError, match=r"all runs given have λ = 0: give --workdir for each"):
        check_comparable([run, run])
    for changes, message in (
        ({"class_names": ["a", "b", "c"]}, r"has another set of classes \(a, b, c\) than .* \(jump, run, wave\)"),
        ({}, r"has another features file \(elsewhere.h5\)"),
    ):
        config = dataclasses.replace(
            run.model.config,
            data=dataclasses.replace(run.model.config.data, features="elsewhere.h5"),
            objective=dataclasses.replace(run.model.config.objective, attention_penalty=1.0),
        )
        model = dataclasses.replace(run.model, config=config, **changes)
        file = dataclasses.replace(run.file, names=["x"] * len(run.file.names))
        with pytest.raises(InputError, match=message):
            check_comparable([run, dataclasses.replace(run, model=model, file=file)])
