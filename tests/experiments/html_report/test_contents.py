"""What a report says, read back from the HTML file without a browser."""

import base64
import hashlib
import html.parser
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from experiments.html_report.contents import (
    about_run,
    about_scores,
    as_jpeg,
    choose_clips,
    gather,
    in_bytes,
    report,
    thinned,
)
from experiments.html_report.page_file import as_json, write_page
from experiments.runs import trained
from experiments.runs.visualization import glimpse_clip


class Page(html.parser.HTMLParser):
    """The elements of a page: (tag, attributes, text) in their order."""

    def __init__(self, path):
        super().__init__(convert_charrefs=False)
        self.elements, self.is_open = [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        self.is_open = True

    def handle_data(self, text):
        if self.is_open:
            self.elements[-1][2] += text

    def handle_endtag(self, tag):
        self.is_open = False

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]


@pytest.mark.slow
def test_page_holds_the_run_and_no_name_is_markup(hostile_report):
    page = Page(hostile_report.path)
    kinds = [attributes.get("type") for attributes, _ in page.all("script")]
    assert kinds == ["application/json", *["text/plain"] * 5, None]  # One clip of six is not on disk.
    shown = json.loads(page.all("script")[0][1])
    assert shown == json.loads(json.dumps(hostile_report.contents))
    assert shown["classes"][0] == "</script><script>alert(1)</script>"
    assert "jump/<script>alert(2)<!--.avi" in [clip["name"] for clip in shown["clips"]]
    assert shown["name"] == "small" and shown["split"] == "test" and shown["epoch"] == 8 and len(shown["epochs"]) == 8
    assert not any(tag in {"img", "link", "iframe", "object"} and "data:," not in attributes.values()
                   for tag, attributes, _ in page.elements)  # fmt: skip


@pytest.mark.slow
def test_what_was_held_out_is_counted_by_whatever_rule(small_run, write_tiny):
    def said(features=None, **changes):
        data = replace(model.config.data, **changes)
        changed = replace(model, config=replace(model.config, data=data))
        return dict(about_run(changed, changed.open_features(features), "tiny.h5", "test", "best")["facts"])["Split"]

    model = trained.load(small_run)
    assert said() == "test of tiny; held out of training: 3 of 12 training clips"
    assert said(folds=2, fold=1) == "test of tiny; held out of training: 6 of 12 training clips, fold 2 of 2 (--fold=1)"
    assert said(validation_fraction=0.0) == "test of tiny; held out of training: nothing"
    own = write_tiny(splits=["validation"] * 6 + ["train"] * 6 + ["test"] * 6)
    assert said(own) == "test of tiny; held out of training: 6 of 12 training clips"
    other = write_tiny(split_id="other")
    assert said(other) == "test of other; training was on tiny: check that no clip is in both"


@pytest.mark.slow
def test_policy_allows_the_pages_own_script_and_style_alone(hostile_report):
    page = Page(hostile_report.path)
    (policy,) = [a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for tag, text in (("script", page.all("script")[-1][1]), ("style", page.all("style")[0][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(|@import|innerHTML|eval\(""", page.all("script")[-1][1])


@pytest.mark.slow
def test_a_report_can_show_the_evidence(small_run, hostile_report):
    contents, _ = gather(trained.load(small_run), hostile_report.features, explain="evidence", max_clips=2)
    assert (contents["explain"], contents["has_attention"]) == ("evidence", True)
    assert hostile_report.contents["explain"] == "attention"
    for clip in contents["clips"]:
        steps = np.frombuffer(base64.b64decode(clip["attention"]), np.uint8).reshape(len(clip["low"]), 9)
        low, high = (np.array(clip[name])[:, None] for name in ("low", "high"))
        sums = (low + (high - low) * steps / 255).sum(axis=1)
        assert (np.isclose(sums, 1, atol=0.02) | (sums == 0)).all()
        assert sums.any()
    assert contents["spread"].keys() == {"48", "64"}


@pytest.mark.slow
def test_clips_carry_frames_attention_and_steps(hostile_report, small_run):
    model = trained.load(small_run)
    file = model.open_features(hostile_report.features)
    clips = hostile_report.contents["clips"]
    for clip, picture in zip(clips, hostile_report.pictures, strict=True):
        if clip["missing"]:
            assert picture is None and "the clip is missing; --data_dir must name" in clip["missing"]
            continue
        video = file.names.index(clip["name"])
        expected = glimpse_clip(model, file, video, np.array(clip["probabilities"]), hostile_report.data_dir)
        low, high = (np.array(clip[name])[:, None] for name in ("low", "high"))
        bytes_ = np.frombuffer(base64.b64decode(clip["attention"]), np.uint8).reshape(7, 9)
        assert np.abs(low + (high - low) * bytes_ / 255 - expected.attention).max() <= 0.51 / 255 * (high - low).max()
        assert clip["fps"] == 10 and clip["every"] == 1 and clip["numbers"] == [1, 2, 3, 4, 5, 6, 7]
        sheet = np.asarray(Image.open(io.BytesIO(picture)))
        assert sheet.shape == (48, 8 * 64, 3)
        frames = sheet.reshape(48, 8, 64, 3).swapaxes(0, 1)
        np.testing.assert_allclose(frames[:7].mean((1, 2)), expected.frames.mean((1, 2)), atol=5)
        steps = np.frombuffer(base64.b64decode(clip["steps"]), np.uint8).reshape(7, 3) / 255
        np.testing.assert_allclose(steps.sum(axis=1), 1, atol=0.01)
        assert clip["right"] == (clip["predicted"] in clip["labels"])
    assert sum(not clip["right"] for clip in clips) == 2  # Two clips have each other's labels.


def test_clips_are_chosen_class_by_class_right_and_wrong():
    labels = np.eye(2, dtype=np.uint8)[[0, 0, 0, 0, 1, 1]]
    first = np.array([0.99, 0.98, 0.7, 0.2, 0.4, 0.9])
    predictions = np.stack([first, 1 - first], axis=1)
    # Right: 0, 1, 2 of class 0 and 4 of class 1. Wrong: 3 of class 0 and 5 of class 1, the latter the more confident.
    assert choose_clips(predictions, labels, 9) == [0, 5, 4, 3, 1, 2]
    assert choose_clips(predictions, labels, 2) == [0, 5]
    assert choose_clips(predictions, labels, 0) == []


def test_bytes_are_rounded_shares_of_the_way():
    assert base64.b64decode(in_bytes(np.array([0.1, 0.2, 0.3]), 0.1, 0.3)) == bytes([0, 128, 255])
    assert base64.b64decode(in_bytes(np.full(2, 0.25), 0.25, 0.25)) == bytes([0, 0])  # Uniform attention.


def test_long_curves_are_thinned():
    assert thinned(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    some = thinned(np.arange(10_000))
    assert len(some) == 200 and some[0] == 0 and some[-1] == 9999


@pytest.mark.slow
def test_scores_of_a_run_have_its_classes_and_its_calibration(hostile_report, small_run):
    contents, temperature = hostile_report.contents, trained.load(small_run).temperature
    assert contents["by_class"][1] == {"videos": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5, "right": 1, "taken": 2}
    calibration = contents["calibration"]
    assert calibration["temperature"] == temperature.value and calibration["fitted_on"] == 3
    assert calibration["curve"][-1] == [1.0, pytest.approx(4 / 6, abs=1e-5)]
    assert calibration["coverage"][0]["coverage"] == 1.0
    for clip in contents["clips"]:  # Calibrated, as `--reject_below` sees them.
        assert sum(clip["probabilities"]) == pytest.approx(1, abs=1e-4)
    surest = max(max(clip["probabilities"]) for clip in contents["clips"])
    assert calibration["curve"][0][0] == pytest.approx(1 / 6, abs=1e-4) and surest > 1 / 3


def test_frames_lie_row_by_row():
    frames = np.zeros((11, 16, 32, 3), np.uint8) + (20 * np.arange(11, dtype=np.uint8))[:, None, None, None]
    sheet = np.asarray(Image.open(io.BytesIO(as_jpeg(frames))))
    assert sheet.shape == (2 * 16, 8 * 32, 3)
    for n in range(11):
        row, column = divmod(n, 8)
        assert abs(int(sheet[16 * row + 8, 32 * column + 16, 0]) - 20 * n) <= 3


def test_what_is_no_number_becomes_null_and_no_string_ends_the_script():
    text = as_json({"a": [float("nan"), 1.5, "</script><!-- & \ud800"], "b": (float("inf"), True, None)})
    assert text == (r'{"a":[null,1.5,"\u003c/script\u003e\u003c!-- \u0026 \ud800"],"b":[null,true,null]}')


@pytest.mark.slow
def test_several_labels_have_average_precisions_and_no_confusion(small_run):
    from experiments.runs.protocol import PAPER
    from experiments.runs.video_predictions import VideoPredictions

    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    found = VideoPredictions(
        np.arange(3), np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.1], [0.1, 0.9, 0.2]]), np.ones(3, int), 1.0, {}, PAPER
    )
    said = about_scores(found, labels, replace(trained.load(small_run), multi_label=True))
    assert said["confusion"] is None
    assert [(entry["videos"], entry["average_precision"]) for entry in said["by_class"]] == [
        (2, pytest.approx((1 + 2 / 3) / 2)),
        (2, 1.0),
        (0, None),
    ]
    assert [entry["recall"] for entry in said["by_class"]] == [0.5, 1.0, None]
    pooled, first, second = said["curves"]
    assert [pooled["name"], first["name"], second["name"]] == ["all classes pooled", "jump", "run"]
    assert first["points"] == [[0, 0.5, 1], [1, 0.5, 0.5], [1, 1, pytest.approx(2 / 3, abs=1e-5)]]
    assert first["roc_area"] == 0.5 and second["roc_area"] == 1.0 and len(pooled["points"]) == 5
    assert said["calibration"]["curve"][-1] == [1.0, 0.66667]  # The second clip's best class is none of its own.
    assert said["scores"]["mean_average_precision"] == pytest.approx(11 / 12)


@pytest.mark.slow
def test_bad_requests_are_one_line_and_leave_nothing(small_run, tmp_path):
    with pytest.raises(InputError, match=r"config.json: No such file.*--workdir must name a trained run"):
        report(tmp_path)
    (tmp_path / "config.json").write_bytes((small_run / "config.json").read_bytes())
    with pytest.raises(InputError, match="no checkpoint"):
        report(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/report.html: cannot be written"):
        write_page(tmp_path / "file" / "report.html", {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pages_are_written_whole(tmp_path):
    write_page(tmp_path / "new" / "a.html", {"name": "ü"}, [b"jpeg", None])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.html"]
    assert Page(tmp_path / "new" / "a.html").all("script")[1] == (
        {"type": "text/plain", "id": "picture-0"},
        "anBlZw==",
    )
