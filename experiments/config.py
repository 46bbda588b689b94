"""What a run is: frozen dataclasses that the flags fill and that the work folder keeps as JSON.

Each field is a flag of the same name. A run can be repeated from its `config.json` alone.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from absl import flags

import attention_ar as ar
from attention_ar.errors import InputError
from attention_ar.objective import PaperObjective

flags.disclaim_key_flags()  # The flags belong to the program that defines them through `define_flags`.


def option(default, help, choices=None, minimum=None, maximum=None):
    """A dataclass field that is also a flag."""
    return field(default=default, metadata={"help": help, "choices": choices, "minimum": minimum, "maximum": maximum})


@dataclass(frozen=True)
class DataConfig:
    """Which videos, and how they are cut into blocks (section 4.2)."""

    features: str = option(None, "Features file (.h5) that data_prep.extract_features wrote.")
    validation_fraction: float = option(
        0.15, "Share of the training part that is held out to choose the best epoch.", minimum=0, maximum=0.9
    )
    num_steps: int = option(30, "T, the frames of a block.", minimum=1)
    fps: float = option(30.0, "Rate at which a block samples the video, in frames per second.")
    stride: int = option(1, "Stored frames from the start of one block to that of the next.", minimum=1)


@dataclass(frozen=True)
class ModelConfig:
    """Which model (sections 3.2 and 4.2.1)."""

    model: str = option(
        "soft_attention",
        "soft_attention is the paper's; the others are its baselines.",
        choices=["soft_attention", "average_pool", "max_pool", "softmax_regression"],
    )
    hidden_dim: int = option(512, "d, of the LSTM's state and of the classifier's hidden layer.", minimum=1)
    num_layers: int = option(3, "LSTM layers.", minimum=1)
    dropout: float = option(0.5, "Dropout rate on the non-recurrent connections.", minimum=0, maximum=0.99)
    init_layers: int = option(1, "Layers of the perceptrons that give the first state (Eq. 6).", minimum=1)


@dataclass(frozen=True)
class ObjectiveConfig:
    """The coefficients of the loss (Eq. 7)."""

    attention_penalty: float = option(0.0, "λ, coefficient of the doubly stochastic penalty.", minimum=0)
    weight_decay: float = option(1e-5, "γ, coefficient of the squared parameters.", minimum=0)


@dataclass(frozen=True)
class TrainingConfig:
    """How it is trained."""

    batch_size: int = option(128, "Blocks in a batch.", minimum=1)
    epochs: int = option(15, "Times that every block is seen.", minimum=1)
    learning_rate: float = option(2e-4, "Adam's step size.", minimum=0)
    seed: int = option(0, "Of the initial weights, the order of the blocks, dropout and the held-out part.", minimum=0)


@dataclass(frozen=True)
class RunConfig:
    """One run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()


def define_flags(*config_classes):
    """Defines one flag a field, with the field's default, help and bounds."""
    for config_class in config_classes:
        for f in dataclasses.fields(config_class):
            bounds = {"lower_bound": f.metadata["minimum"], "upper_bound": f.metadata["maximum"]}
            if f.metadata["choices"]:
                flags.DEFINE_enum(f.name, f.default, f.metadata["choices"], f.metadata["help"])
            elif f.type is int:
                flags.DEFINE_integer(f.name, f.default, f.metadata["help"], **bounds)
            elif f.type is float:
                flags.DEFINE_float(f.name, f.default, f.metadata["help"], **bounds)
            else:
                flags.DEFINE_string(f.name, f.default, f.metadata["help"])


def from_flags(config_class):
    """Returns the `config_class` (a dataclass of options, or a RunConfig of such) that the flags say."""
    if config_class is RunConfig:
        return RunConfig(**{f.name: from_flags(f.type) for f in dataclasses.fields(RunConfig)})
    return config_class(**{f.name: flags.FLAGS[f.name].value for f in dataclasses.fields(config_class)})


def as_flags(config: RunConfig) -> dict:
    """Returns the values of all fields under the names of their flags."""
    parts = dataclasses.asdict(config).values()
    return {name: value for part in parts for name, value in part.items()}


def write_json(path, value):
    """Writes JSON atomically."""
    beside = f"{path}.partial"
    Path(beside).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def read_config(workdir) -> RunConfig:
    """Returns the configuration that a run left in its work folder.

    Raises:
      InputError: where there is none, or it has other fields than this version knows.
    """
    path = Path(workdir) / "config.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a run's configuration ({error}); --workdir must name a trained run") from None
    parts = {}
    for part in dataclasses.fields(RunConfig):
        known = {f.name for f in dataclasses.fields(part.type)}
        values = saved.pop(part.name, None)
        if not isinstance(values, dict) or values.keys() != known:
            given = set(values) if isinstance(values, dict) else set()
            raise InputError(f"{path}: {part.name} has wrong or missing entries: {sorted(known ^ given)}")
        parts[part.name] = part.type(**values)
    if saved:
        raise InputError(f"{path}: unknown entries {sorted(saved)}")
    return RunConfig(**parts)


def build_model(config: ModelConfig, num_classes: int):
    """Returns the Flax module that the configuration names."""
    if config.model == "softmax_regression":
        return ar.SoftmaxRegression(num_classes)
    sizes = {
        "num_classes": num_classes,
        "hidden_dim": config.hidden_dim,
        "num_layers": config.num_layers,
        "dropout": config.dropout,
        "init_layers": config.init_layers,
    }
    if config.model == "soft_attention":
        return ar.SoftAttentionLSTM(**sizes)
    return ar.PooledLSTM(**sizes, pool={"average_pool": "mean", "max_pool": "max"}[config.model])


def build_objective(config: ObjectiveConfig, multi_label: bool) -> PaperObjective:
    """Returns the loss that the configuration names."""
    return PaperObjective(config.attention_penalty, config.weight_decay, multi_label)
