"""The READMEs' tables are those of the files under experiments/results, and claims follow from these."""

import json
import re

import pytest

from attention_ar.errors import InputError
from experiments.tables.claims import CLAIMS, claims_table
from experiments.tables.results import (
    NETWORKS,
    RESULTS,
    marked_tables,
    portable,
    quote,
    quoted,
    read_json,
    read_results,
    readmes,
    record,
)

README = next(path for path in readmes() if path.parent.name == "experiments")


@pytest.mark.parametrize("path", [path for path in readmes() if marked_tables(path.read_text("utf-8"))], ids=str)
def test_the_tables_of_the_readmes_are_those_of_the_results(path):
    """By numbers and words: both sides are read as cells, and compared one by one."""
    for name, key, markdown in marked_tables(path.read_text(encoding="utf-8")):
        found = read_json(RESULTS / f"{name}.json")[key]
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.splitlines()]
        cells = [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]
        expected = [[" ".join(str(cell).split()) for cell in line] for line in (found["header"], *found["rows"])]
        assert [cells[0], *cells[2:]] == expected, f"{name}: python -m experiments.record writes the READMEs anew"


def test_every_table_of_numbers_has_its_file():
    """A table with a decimal number in it is a result, wherever it stands in the programs' README."""
    lines = README.read_text(encoding="utf-8").splitlines()
    bare = []
    for n, line in enumerate(lines):
        if line.startswith("|") and not lines[n - 1].startswith("|"):
            end = next(m for m in range(n, len(lines) + 1) if m == len(lines) or not lines[m].startswith("|"))
            numbers = re.findall(r"\d\.\d", re.sub(r"`[^`]*`", "", "\n".join(lines[n + 2 : end])))
            if numbers and not any(above.startswith("<!-- results/") for above in lines[n - 2 : n]):
                bare.append(line)
    assert bare == []


def test_results_say_where_they_come_from_and_name_no_folder_of_a_machine():
    found = read_results()
    assert len(found) >= 9
    for name, data in found.items():
        assert {"command", "date", "machine"} <= data["made"].keys(), name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", data["made"]["date"]), name
        assert data == portable(data), name
        assert (RESULTS / f"{name}.json").stat().st_size < 200_000, name


def test_every_result_is_quoted_or_judged():
    quoted_names = {name for path in readmes() for name, _, _ in marked_tables(path.read_text(encoding="utf-8"))}
    judged = {path.stem for path in RESULTS.glob("jhmdb_*.json")}
    assert set(read_results()) - quoted_names - judged == set()


def test_the_claims_follow_from_the_results():
    for name, network in NETWORKS.items():
        assert read_json(RESULTS / f"{name}.json")["table"] == claims_table(read_results(), network)


# --- Recording --------------------------------------------------------------------------------------------------------


def test_a_recorded_table_is_quoted(tmp_path):
    data = {
        "made": {"command": "python -m experiments.table1 --features=/data/x/f.h5 --workdir=~/t", "date": "2026-01-01"},
        "features": "/data/x/f.h5",
        "rows": {"a": {"mean": 0.123456789, "workdirs": ["/data/y"]}},
        "address": "https://example.org/a/b",
        "table": {"header": ["model", "x | y"], "rows": [["a", "1.5"], ["b", "2.5 and/or 3/4"]]},
    }
    (tmp_path / "table1.json").write_text(json.dumps(data))
    path = record(tmp_path / "table1.json", "some_table1", tmp_path / "results")
    found = read_json(path)
    assert found["made"]["command"] == "python -m experiments.table1 --features=f.h5 --workdir=t"
    assert (found["features"], found["rows"]) == ("f.h5", {"a": {"mean": 0.123457}})
    assert found["address"] == data["address"] and found["table"] == data["table"]
    page = tmp_path / "README.md"
    page.write_text("Text.\n\n<!-- results/some_table1.json -->\n\n| old |\n|---|\n| 1 |\n\nMore.\n")
    assert quote(tmp_path, tmp_path / "results") == [page]
    assert page.read_text() == (
        "Text.\n\n<!-- results/some_table1.json -->\n\n| model | x \\| y |\n| --- | --- |\n| a | 1.5 |\n"
        "| b | 2.5 and/or 3/4 |\n\nMore.\n"
    )
    assert quote(tmp_path, tmp_path / "results") == []
    page.write_text("<!-- results/some_table1.json -->\n\n## Next\n")  # A table that is not there yet.
    assert quote(tmp_path, tmp_path / "results") == [page]
    assert page.read_text().endswith(
        "-->\n\n| model | x \\| y |\n| --- | --- |\n| a | 1.5 |\n| b | 2.5 and/or 3/4 |\n\n## Next\n"
    )
    assert quote(tmp_path, tmp_path / "results") == []
    with pytest.raises(InputError, match=r"some_table1.json: has no pairs_table with header and rows"):
        quoted("some_table1", "pairs_table", tmp_path / "results")


def test_what_cannot_be_recorded(tmp_path, run_program):
    (tmp_path / "scores.json").write_text('{"accuracy": 1}')
    (tmp_path / "list.json").write_text("[1]")
    for source, complaint in (("scores", "no table's JSON file"), ("list", "no table's"), ("none", "cannot be read")):
        with pytest.raises(InputError, match=complaint):
            record(tmp_path / f"{source}.json", "x", tmp_path / "results")
    for name in ("../x", "a/b", "claims", ""):
        with pytest.raises(InputError, match="must be letters, digits"):
            record(tmp_path / "scores.json", name, tmp_path / "results")
    with pytest.raises(InputError, match="both the JSON file of one table and its --name"):
        run_program("experiments.record", tmp_path / "scores.json")
    with pytest.raises(InputError, match="both the JSON file of one table and its --name"):
        run_program("experiments.record", "--name=x")


# --- Claims -----------------------------------------------------------------------------------------------------------


def judged(results, network="googlenet"):
    rows = claims_table(results, network)["rows"]
    assert [row[0] for row in rows] == [one.claim for one in CLAIMS]
    return {row[0]: row[1:] for row in rows}


def table_1():
    def compare(row, minus, mean, p_value):
        return {
            "row": row,
            "minus": minus,
            "mean": mean,
            "low": mean - 0.01,
            "high": mean + 0.02,
            "p_value_holm": p_value,
        }

    return {
        "flags": {"fps": 15.0},
        "rows": {
            "average_pool": {"mean": 0.45},
            "max_pool": {"mean": 0.40},
            "attention_0": {"mean": 0.48, "attention": [{"movement": 0.1, "entropy": 2.0}] * 2},
            "attention_1": {"mean": 0.47, "attention": [{"movement": 0.3, "entropy": 3.0}] * 2},
            "attention_10": {
                "mean": 0.46,
                "attention": [{"movement": 0.05, "entropy": 3.5}, {"movement": 0.45, "entropy": 2.9}],
            },
            "softmax_regression": {"mean": 0.5},
        },
        "pairs": [
            compare("attention_0", "average_pool", 0.03, 0.2),
            compare("attention_0", "max_pool", 0.08, 0.001),
            compare("attention_10", "attention_0", 0.02, 0.04),
            compare("attention_0", "softmax_regression", -0.02, 0.9),
        ],
    }


def test_claims_by_hand():
    found = judged({"jhmdb_googlenet_table1": table_1()})
    assert found["attention beats average pooling"] == [
        "41.31 against 40.52 %",
        "48.0 against 45.0 %: +3.0 (+2.0 to +5.0), p 0.2",
        "not told apart",
    ]
    assert found["attention beats max pooling"][2] == "yes"
    assert found["λ = 0 beats λ = 10"][1:] == [
        "48.0 against 46.0 %: −2.0 (−4.0 to −1.0), p 0.04",
        "no, the other way round",
    ]
    assert found["λ = 1 beats λ = 10"][1:] == ["not measured", "not measured"]
    stays = found["λ = 0 stays: it moves least from step to step"]
    assert stays == ["Fig. 3", "0.1, 0.3, 0.25 at λ = 0, 1, 10", "yes; in 1 of 2 seeds"]
    everywhere = found["λ = 10 gazes everywhere: its entropy is largest"]
    assert everywhere[1:] == ["2, 3, 3.2 at λ = 0, 1, 10", "yes; in 1 of 2 seeds"]


def test_layers_and_rates():
    points = [{"point": {"num_layers": n}, "mean": 0.4, "scores": [0.4, 0.41, 0.39]} for n in range(1, 6)]
    results = {"jhmdb_googlenet_layers": {"points": points}, "jhmdb_googlenet_table1": table_1()}
    claim = "one to five layers make no difference"
    assert judged(results)[claim][1:] == ["40.0, 40.0, 40.0, 40.0, 40.0 % with 1 to 5 layers, held out", "yes"]
    points[4] = {"point": {"num_layers": 5}, "mean": 0.3, "scores": [0.3, 0.311, 0.29]}
    assert judged(results)[claim][2] == "no: 3 differs from 5"
    slow = table_1()
    slow["flags"]["fps"] = 6.0
    slow["rows"]["attention_1"] = {"mean": 0.4, "attention": [{"movement": 0.5, "entropy": 1.0}]}
    results["jhmdb_googlenet_6fps_table1"] = slow
    claim = "at 6 fps frames change quickly, and attention moves more than at 30 fps"
    assert judged(results)[claim][1:] == ["moves 0.5 a step at 6 fps, 0.3 at 15; accuracy 40.0 and 47.0 %", "yes"]


def test_nothing_measured():
    assert {tuple(row[1:]) for row in judged({}, "efficientnet_lite0").values()} == {("not measured", "not measured")}
