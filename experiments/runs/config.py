"""The configuration of a run: frozen dataclasses that the flags fill and that the work folder stores as JSON.

Each field is a flag of the same name. `config.json` alone is enough to repeat a run.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from attention_ar import released
from attention_ar.errors import InputError
from attention_ar.hard_attention import ESTIMATORS, GLIMPSE_RULES
from experiments.runs.flags import define_flags, option, options
from experiments.runs.models import MODELS

flags.disclaim_key_flags()  # The flags belong to the program that calls `define_run_flags`.


@dataclass(frozen=True)
class DataConfig:
    """Which videos, and how they are cut into blocks (section 4.2)."""

    features: str = option(None, "Features file (.h5), or folder of a data set, that a program of data_prep made.")
    validation_fraction: float = option(
        0.15, "Share of the training part that is held out to choose the best epoch; 0: none.", minimum=0, maximum=0.9
    )
    split_seed: int = option(-1, "Seed of the held-out share; -1: as --seed.", minimum=-1)
    folds: int = option(
        0, "Cut the training part into this many folds, by group, and hold one out instead; 0: no folds.", minimum=0
    )
    fold: int = option(0, "Which of the --folds is held out, from 0.", minimum=0)
    test_folds: int = option(
        0, "Cut all clips into this many folds, by group, and test on one; 0: the test part of the file.", minimum=0
    )
    test_fold: int = option(0, "Which of the --test_folds is tested, from 0.", minimum=0)
    num_steps: int = option(30, "T, the frames of a block.", minimum=1)
    fps: float = option(30.0, "Rate at which a block samples the video, in frames per second.")
    stride: int = option(1, "Stored frames from the start of one block to that of the next.", minimum=1)
    block_rule: str = option(
        "paper",
        "Where blocks begin: as in the paper, or as in the authors' program.",
        choices=["paper", "released"],
    )


@dataclass(frozen=True)
class ModelConfig:
    """Which model (sections 3.2 and 4.2.1)."""

    model: str = option(
        "soft_attention",
        "soft_attention is the paper's; released is that of the authors' released program; the others are baselines.",
        choices=list(MODELS),
    )
    hidden_dim: int = option(512, "d, of the LSTM's state and of the classifier's hidden layer.", minimum=1)
    num_layers: int = option(3, "LSTM layers; the released model always has one.", minimum=1)
    dropout: float = option(
        0.5,
        "Dropout rate on non-recurrent connections; the released model has only 0 and 0.5.",
        minimum=0,
        maximum=0.99,
    )
    init_layers: int = option(1, "Layers of the perceptrons that give the first state (Eq. 6).", minimum=1)
    compute_dtype: str = option(
        "float32",
        "Dtype of features and matrix products; the rest stays float32.",
        choices=["float32", "bfloat16"],
    )
    levels: str = option(
        "inception_5b",
        "Which levels of the features the model attends to, by commas, such as inception_5b,inception_4e, the file's "
        "first level first. By default that alone, as in the paper.",
    )
    level_scales: str = option(
        "",
        "What the features of each further level are divided by, by commas; by default the root mean square of its "
        "features in the training part, which is measured once and kept with the run.",
    )


@dataclass(frozen=True)
class ReleasedConfig:
    """The options that only --model=released has, under the authors' names."""

    dim_out: int = option(512, "Released model: width of the classifier's hidden layers.", minimum=1)
    n_layers_att: int = option(1, "Released model: affine maps of each cell under the location softmax.", minimum=1)
    n_layers_out: int = option(1, "Released model: layers of the classifier after its tanh layer.", minimum=1)
    ctx2out: bool = option(False, "Released model: whether the classifier sees the attended input too.")
    selector: bool = option(False, "Released model: whether a gate scales the attended input.")
    temperature_inverse: float = option(1.0, "Released model: factor on the scores under the location softmax.")
    last_n: int = option(30, "Released protocol: last steps of a block that make its prediction.", minimum=1)


@dataclass(frozen=True)
class ObjectiveConfig:
    """The coefficients of the loss (Eq. 7), or of the released program's cost: alpha_c and decay_c; class weights."""

    attention_penalty: float = option(0.0, "λ, coefficient of the doubly stochastic penalty.", minimum=0)
    weight_decay: float = option(1e-5, "γ, coefficient of the squared parameters.", minimum=0)
    class_weights: str = option(
        "none",
        "Weights of the classes in the loss; balanced: the same part for every class, however few blocks it has.",
        choices=["none", "balanced"],
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained."""

    batch_size: int = option(128, "Blocks in a batch.", minimum=1)
    epochs: int = option(15, "Passes over all blocks.", minimum=1)
    optimizer: str = option(
        "adam",
        "adam is the paper's; the others are the released program's, of which only sgd uses the learning rate.",
        choices=["adam", *(f"released_{name}" for name in released.OPTIMIZERS)],
    )
    learning_rate: float = option(2e-4, "Step size.", minimum=0)
    stop_at_cost: float = option(
        0.0, "Training ends after the first epoch whose mean loss is not above this; 0: never.", minimum=0
    )
    patience: int = option(
        0,
        "Training ends after so many epochs without a better held-out score (of equals, a lower cross-entropy); 0: "
        "never.",
        minimum=0,
    )
    seed: int = option(
        0, "Of the initial weights, the order of the blocks and dropout; and see --split_seed.", minimum=0
    )


@dataclass(frozen=True)
class AttentionConfig:
    """Whether a model with attention looks everywhere, softly, or at places that are drawn (the paper's section 5)."""

    attention: str = option(
        "soft",
        "soft is the paper's; hard looks at one cell, drawn from the location softmax; window looks softly around it.",
        choices=["soft", "hard", "window"],
    )
    window: int = option(1, "With attention=window: how many rows and columns around the drawn cell.", minimum=0)
    estimator: str = option(
        "reinforce",
        "With hard attention, the gradient of the places: score function, or straight-through Gumbel softmax (biased).",
        choices=list(ESTIMATORS),
    )
    num_samples: int = option(4, "With hard attention: samples of every block in training.", minimum=1)
    entropy_weight: float = option(
        0.03, "With hard attention: weight of the location softmax's entropy; falls linearly to 0.", minimum=0
    )
    soft_probability: float = option(
        0.5, "With hard attention: share of the blocks that are trained softly.", minimum=0, maximum=1
    )
    glimpse_rule: str = option(
        "argmax",
        "With hard attention, where the model looks at test time, and when the best epoch is chosen: the most probable "
        "cell; places that are drawn, the mean of ten predictions; or everywhere, softly.",
        choices=list(GLIMPSE_RULES),
    )
    init_from: str = option(
        "",
        "Folder of a run whose best parameters are the initial weights; by default random. {seed}, {fold} and "
        "{test_fold} in it stand for those of the run that begins.",
    )


@dataclass(frozen=True)
class RuntimeConfig:
    """Devices, memory and saving. A run may resume with other values: no result depends on them."""

    parallel: str = option(
        "auto",
        "jit: one device; pmap: all devices, through jax.pmap; auto: a mesh of all devices.",
        choices=["auto", "jit", "pmap"],
    )
    features_on: str = option(
        "auto",
        "Where features lie in training: on the device, in the host's memory, on disk; auto: the first that has room.",
        choices=["auto", "device", "host", "disk"],
    )
    time_loop: str = option(
        "auto",
        "How the model goes through the T steps: fast saves time; auto: fast on CPUs and GPUs, plain on TPUs.",
        choices=["auto", "plain", "fast"],
    )
    save_seconds: float = option(
        60.0, "Seconds of work between two checkpoints within an epoch: the most that a crash loses.", minimum=0
    )
    tensorboard: bool = option(
        False, "Whether to write each epoch's numbers to WORKDIR/tensorboard too; needs tensorboardX."
    )


@dataclass(frozen=True)
class RunConfig:
    """One run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    released: ReleasedConfig = ReleasedConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    attention: AttentionConfig = AttentionConfig()


def define_run_flags(flag_values=flags.FLAGS):
    """Defines the flags of a whole `RunConfig`."""
    define_flags(*(f.type for f in dataclasses.fields(RunConfig)), flag_values=flag_values)


def from_flags(config_class, flag_values=flags.FLAGS):
    """Returns the `config_class` (a dataclass of options, or a RunConfig of such) that the flags say."""
    if config_class is RunConfig:
        return RunConfig(**{f.name: from_flags(f.type, flag_values) for f in dataclasses.fields(RunConfig)})
    return config_class(**{f.name: flag_values[f.name].value for f in options(config_class)})


def as_flags(config: RunConfig) -> dict:
    """Returns the values of all fields under the names of their flags."""
    parts = dataclasses.asdict(config).values()
    return {name: value for part in parts for name, value in part.items()}


def with_flags(config: RunConfig, **values) -> RunConfig:
    """Returns a configuration with other values of some flags, which may be of any of its parts."""
    if unknown := values.keys() - as_flags(config).keys():
        raise TypeError(f"no flags of a run: {sorted(unknown)}")
    parts = {}
    for part in dataclasses.fields(RunConfig):
        own = {f.name: values[f.name] for f in dataclasses.fields(part.type) if f.name in values}
        parts[part.name] = dataclasses.replace(getattr(config, part.name), **own)
    return RunConfig(**parts)


def read_config(workdir) -> RunConfig:
    """Returns the configuration that a run left in its work folder.

    A missing entry has the flag's default: the run is of a version without that flag.

    Raises:
      InputError: where there is none, or it has an unknown entry or an invalid value.
    """
    path = Path(workdir) / "config.json"
    try:
        saved = dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; --workdir must name a trained run") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a run's configuration ({error}); --workdir must name a trained run") from None
    parts = {}
    for part in dataclasses.fields(RunConfig):
        known = {f.name: f for f in dataclasses.fields(part.type)}
        values = saved.pop(part.name, {})
        if not isinstance(values, dict):
            raise InputError(f"{path}: {part.name} is {values!r}; must be entries, by name")
        if unknown := sorted(values.keys() - known):
            raise InputError(f"{path}: {part.name} has unknown entries {unknown}; was it made by a newer version?")
        for name, value in values.items():
            wanted, choices = known[name].type, known[name].metadata["choices"]
            fits = isinstance(value, (int, float) if wanted is float else wanted)
            if not fits or isinstance(value, bool) != (wanted is bool):
                raise InputError(f"{path}: {name} is {value!r}; must be of type {wanted.__name__}")
            if choices and value not in choices:
                raise InputError(f"{path}: {name} is {value!r}; must be one of {', '.join(choices)}")
        parts[part.name] = part.type(**values)
    if saved:
        raise InputError(f"{path}: unknown entries {sorted(saved)}; was it made by a newer version?")
    if not parts["data"].features:
        raise InputError(f"{path}: names no features file; --workdir must name a trained run")
    return RunConfig(**parts)
