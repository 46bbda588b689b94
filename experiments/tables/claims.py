"""The paper's claims, one by one, beside what our results say of them."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from experiments.tables.cross_validation import t_interval
from experiments.tables.published import TABLE_1

NOT_MEASURED = ("not measured", "not measured")
LEVEL = 0.05

Results = Mapping[str, dict]


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
      claim: in a sentence.
      paper: its numbers.
      judge: a function of the results by name, and of the network's name in them; returns what ours are, and whether
        the claim holds for these.
    """

    claim: str
    paper: str
    judge: Callable[[Results, str], tuple[str, str]]


def claims_table(results: Results, network: str) -> dict[str, list]:
    """Returns `header` and `rows` of the table of claims.

    Args:
      results: see `results.read_results`.
      network: "googlenet" or "efficientnet_lite0", as in the names of the results.
    """
    rows = [[one.claim, one.paper, *one.judge(results, network)] for one in CLAIMS]
    return {"header": ["claim", "paper", "ours", "holds?"], "rows": rows}


def beats(better: str, worse: str, dataset: str = "jhmdb"):
    """Judges by Table 1 whether one row is better than another: "yes" and "no" are said of a corrected p below 0.05."""

    def judge(results: Results, network: str):
        table = results.get(f"{dataset}_{network}_table1", {})
        found = pair(table, better, worse)
        if found is None:
            return NOT_MEASURED
        mean, p_value = found["mean"], found["p_value_holm"]
        said = "not told apart" if p_value >= LEVEL else "yes" if mean > 0 else "no, the other way round"
        return pair_text(table, better, worse, found), said

    return judge


def on_a_par(row: str, other: str, dataset: str = "jhmdb"):
    """Judges by Table 1 whether two rows cannot be told apart."""

    def judge(results: Results, network: str):
        table = results.get(f"{dataset}_{network}_table1", {})
        found = pair(table, row, other)
        if found is None:
            return NOT_MEASURED
        return pair_text(table, row, other, found), "no" if found["p_value_holm"] < LEVEL else "yes: not told apart"

    return judge


def pair(table: Mapping, row: str, other: str) -> dict | None:
    """Returns the comparison of two rows of a Table 1, the first minus the second; None where there is none."""
    for one in table.get("pairs", []):
        if (one["row"], one["minus"]) == (row, other):
            return one
        if (one["row"], one["minus"]) == (other, row):
            return {**one, "mean": -one["mean"], "low": -one["high"], "high": -one["low"]}
    return None


def pair_text(table: Mapping, row: str, other: str, found: Mapping) -> str:
    """Returns for example "47.2 against 48.9 %: −1.7 (−4.0 to +0.9), p 0.41"."""
    ours, theirs = (100 * table["rows"][name]["mean"] for name in (row, other))
    mean, low, high = (f"{100 * found[name]:+.1f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{ours:.1f} against {theirs:.1f} %: {mean} ({low} to {high}), p {found['p_value_holm']:.2g}"


def attention_of(results: Results, name: str, row: str, number: str) -> list[float]:
    """Returns a number of the attention's health, one a seed, of a row of a Table 1; none where it was not measured."""
    found = results.get(name, {}).get("rows", {}).get(row, {}).get("attention", [])
    return [one[number] for one in found if one]


def extreme_at(number: str, row: str, largest: bool):
    """Judges by Table 1 whether one λ has the largest or smallest number of the attention's health."""

    def judge(results: Results, network: str):
        rows = ("attention_0", "attention_1", "attention_10")
        values = {one: attention_of(results, f"jhmdb_{network}_table1", one, number) for one in rows}
        if not all(values.values()):
            return NOT_MEASURED
        listed = ", ".join(f"{statistics.fmean(found):.3g}" for found in values.values())
        pick = max if largest else min
        of_seeds = [
            pick(rows, key=dict(zip(rows, found, strict=True)).get) for found in zip(*values.values(), strict=True)
        ]
        holds = pick(rows, key=lambda one: statistics.fmean(values[one])) == row
        ours = f"{listed} at λ = 0, 1, 10"
        return ours, f"{'yes' if holds else 'no'}; in {of_seeds.count(row)} of {len(of_seeds)} seeds"

    return judge


def layers(results: Results, network: str) -> tuple[str, str]:
    """Judges by a sweep over 1 to 5 layers whether any number of them differs from three."""
    points = {
        one["point"].get("num_layers"): one for one in results.get(f"jhmdb_{network}_layers", {}).get("points", [])
    }
    if points.keys() < {1, 2, 3, 4, 5}:
        return NOT_MEASURED
    differing = []
    for number, one in points.items():
        differences = [ours - theirs for ours, theirs in zip(one["scores"], points[3]["scores"], strict=True)]
        low, high = t_interval(differences)
        if number != 3 and not low <= 0 <= high:
            differing.append(str(number))
    listed = ", ".join(f"{100 * points[number]['mean']:.1f}" for number in range(1, 6))
    says = "yes" if not differing else f"no: 3 differs from {' and '.join(differing)}"
    return f"{listed} % with 1 to 5 layers, held out", says


def rates(results: Results, network: str) -> tuple[str, str]:
    """Judges by Table 1 at 6 fps and at a higher rate whether the attention of λ = 1 moves more a step at 6 fps."""
    names = [f"jhmdb_{network}_6fps_table1", f"jhmdb_{network}_table1"]
    slow, fast = (attention_of(results, name, "attention_1", "movement") for name in names)
    if not (slow and fast):
        return NOT_MEASURED
    scores = [100 * results[name]["rows"]["attention_1"]["mean"] for name in names]
    fps = [results[name]["flags"]["fps"] for name in names]
    mean_slow, mean_fast = statistics.fmean(slow), statistics.fmean(fast)
    ours = (
        f"moves {mean_slow:.3g} a step at {fps[0]:g} fps, {mean_fast:.3g} at {fps[1]:g}; "
        f"accuracy {scores[0]:.1f} and {scores[1]:.1f} %"
    )
    return ours, "yes" if mean_slow > mean_fast else "no"


def _paper(row: str, other: str, dataset: str = "hmdb51") -> str:
    return f"{TABLE_1[dataset][row]:.2f} against {TABLE_1[dataset][other]:.2f} %"


CLAIMS = (
    Claim(
        "attention beats average pooling",
        _paper("attention_0", "average_pool"),
        beats("attention_0", "average_pool"),
    ),
    Claim("attention beats max pooling", _paper("attention_0", "max_pool"), beats("attention_0", "max_pool")),
    Claim("λ = 0 beats λ = 10", _paper("attention_0", "attention_10"), beats("attention_0", "attention_10")),
    Claim("λ = 1 beats λ = 10", _paper("attention_1", "attention_10"), beats("attention_1", "attention_10")),
    Claim(
        "λ = 10 becomes similar to average pooling",
        _paper("attention_10", "average_pool"),
        on_a_par("attention_10", "average_pool"),
    ),
    Claim("λ = 0 stays: it moves least from step to step", "Fig. 3", extreme_at("movement", "attention_0", False)),
    Claim("λ = 10 gazes everywhere: its entropy is largest", "Fig. 3", extreme_at("entropy", "attention_10", True)),
    Claim("one to five layers make no difference", "no significant improvement", layers),
    Claim(
        "regression on the full cube is far below attention on HMDB-51",
        _paper("softmax_regression", "attention_0"),
        beats("attention_0", "softmax_regression"),
    ),
    Claim(
        "and on a par with average pooling on UCF-11",
        _paper("softmax_regression", "average_pool", "ucf11"),
        on_a_par("softmax_regression", "average_pool", "ucf11"),
    ),
    Claim("at 6 fps frames change quickly, and attention moves more than at 30 fps", "Fig. 7", rates),
)
