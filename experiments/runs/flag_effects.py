"""Flags without effect are refused, because the user expects one.

This applies to flags on the command line itself whose value is not the default. The lines of a flag file are exempt,
because all models share a file such as configs/hmdb51.cfg; so are configurations that were made in Python or read from
a `config.json`. Tables and sweeps set some flags themselves: these are refused for them, see `set_by`.
"""

import sys
from collections.abc import Iterable

from attention_ar.errors import InputError
from experiments.runs.config import ModelConfig, ObjectiveConfig, ReleasedConfig, RunConfig, as_flags, from_flags
from experiments.runs.models import MODELS, OF_ATTENTION, OF_HARD_ATTENTION

_OF_MODELS = {"time_loop"}.union(*(vars(part) for part in (ModelConfig(), ReleasedConfig(), ObjectiveConfig())))
_OF_MODELS |= {*OF_ATTENTION}
_OF_MODELS -= {"model", "last_n"}  # The released protocol evaluates any model over its last_n steps.
_FIXED_RATES = ("released_adam", "released_rmsprop", "released_adadelta")


def without_effect(config: RunConfig) -> dict[str, str]:
    """Returns the flags that do not change a run, and for each of them the end of a sentence that says why."""
    data, model, optimizer = config.data, config.model.model, config.training.optimizer
    found = {}
    if config.attention.attention == "soft":
        found = dict.fromkeys(OF_HARD_ATTENTION, "has no effect with attention=soft; it is for attention=hard, window")
    if config.attention.attention != "window":
        found["window"] = f"has no effect with attention={config.attention.attention}; it is for attention=window"
    for name in _OF_MODELS - MODELS[model].flags:
        having = " or ".join(other.name for other in MODELS.values() if name in other.flags)
        found[name] = f"has no effect with model={model}; it is for model={having}"
    if optimizer in _FIXED_RATES:
        found["learning_rate"] = (
            f"has no effect with optimizer={optimizer}, whose rate is fixed; it is for optimizer=adam or released_sgd"
        )
    if data.folds:
        for name in ("validation_fraction", "split_seed"):
            found[name] = f"has no effect with folds={data.folds}: a fold is held out, and no seed draws it"
    else:
        found["fold"] = "needs --folds, the number of folds"
        if not data.validation_fraction:
            for name in ("split_seed", "patience"):
                found[name] = "has no effect with validation_fraction=0: nothing is held out"
    if not data.test_folds:
        found["test_fold"] = "needs --test_folds, the number of folds"
    return found


def refuse_without_effect(
    config: RunConfig, runs: Iterable[RunConfig], names: Iterable[str], set_by: dict[str, str] | None = None
):
    """Refuses flags without effect.

    Args:
      config: what the flags say.
      runs: the configurations that result. A flag is refused if it has no effect on any of them.
      names: of the flags that the user gave.
      set_by: flags that the program sets itself, and for each the end of a sentence that says so.

    Raises:
      InputError: for the first such flag, with its value and what would be right.
    """
    values, default = as_flags(config), as_flags(RunConfig())
    reasons = [without_effect(run) | (set_by or {}) for run in runs]
    for name in names:
        if values[name] != default[name] and all(name in found for found in reasons):
            text = f"{values[name]:g}" if isinstance(values[name], float) else values[name]
            raise InputError(f"{name}={text}: {reasons[0][name]}")


def checked_run_config() -> RunConfig:
    """Returns the `RunConfig` that the program's flags say, without a flag on the command line that has no effect.

    Raises:
      InputError: see `refuse_without_effect`.
    """
    config = from_flags(RunConfig)
    refuse_without_effect(config, [config], given(as_flags(config)))
    return config


def given(names: Iterable[str], arguments: list[str] | None = None) -> list[str]:
    """Returns which flags stand on the command line itself, and not in a flag file.

    Args:
      names: of flags.
      arguments: of the program; by default this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    words = {word.lstrip("-").partition("=")[0] for word in arguments if word.startswith("-")}
    return [name for name in names if {name, f"no{name}"} & words]
