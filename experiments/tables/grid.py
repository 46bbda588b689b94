"""Grids of flags, as `--grid=num_layers=1,2,3` names them, and the configurations at their points."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

from absl import flags

from attention_ar.errors import InputError
from experiments.runs.config import RunConfig, RuntimeConfig, define_run_flags, with_flags
from experiments.runs.flag_effects import refuse_without_effect

SET_BY_SWEEP = ("validation_fraction", "split_seed", "folds", "fold", "seed", "patience")
FIXED = {"features", "test_folds", "test_fold", *SET_BY_SWEEP, *(f.name for f in dataclasses.fields(RuntimeConfig))}
"""Flags that cannot be in a grid: they are the sweep's own, or no result depends on them."""


def parse_grid(texts) -> dict[str, list]:
    """Returns the values of each flag of a grid, in the order in which they are given.

    Args:
      texts: of the form name=value,value,…; every value is read, and its bounds looked at, as the flag itself would.

    Raises:
      InputError: for a malformed text, an unknown flag or one that cannot be varied, an invalid value,
        and duplicates.
    """
    known = flags.FlagValues()
    define_run_flags(known)
    names = [name for name in known if name not in FIXED]
    grid = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or name not in names:
            raise InputError(f"--grid={text}: must be name=value,value,… with one of {', '.join(sorted(names))}")
        if name in grid:
            raise InputError(f"--grid={text}: {name} is given twice; name all of its values at once")
        grid[name] = []
        for value in values.split(","):
            try:
                parsed = known[name].parser.parse(value)
            except ValueError as error:
                raise InputError(f"--grid={text}: {name}={value}: {error}") from None
            if isinstance(parsed, float) and not math.isfinite(parsed):
                raise InputError(f"--grid={text}: {name}={value}: must be a finite number")
            if parsed in grid[name]:
                raise InputError(f"--grid={text}: {name}={value} is given twice")
            grid[name].append(parsed)
    return grid


def points(grid: dict[str, list]) -> list[dict]:
    """Returns all combinations of the grid's values, the last flag's changing first."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def refuse_flags_without_effect(config: RunConfig, grid: dict[str, list], names: Sequence[str]):
    """Refuses a flag of the grid that has no effect at one of its points, and one that has none at any of them.

    Args:
      config: the part that all points share.
      grid: see `parse_grid`.
      names: of the flags that the user gave.

    Raises:
      InputError: for the first such flag, with its value and what would be right.
    """
    runs = [with_flags(config, **point) for point in points(grid)]
    set_by = dict.fromkeys(SET_BY_SWEEP, "has no effect: --folds and --seeds say what is held out, and how often")
    set_by["patience"] = "has no effect: the epoch is the best in the mean over the folds, which needs all --epochs"
    refuse_without_effect(config, runs, [name for name in names if name != "folds"], set_by)
    for run in runs:
        refuse_without_effect(run, [run], grid)


def point_name(point: dict) -> str:
    """Returns for example "num_layers=2,attention_penalty=0"."""
    return ",".join(f"{name}={value_text(value)}" for name, value in point.items()) or "as_given"


def value_text(value) -> str:
    """Returns a flag's value, a whole number without its ".0"."""
    return str(value).removesuffix(".0")
