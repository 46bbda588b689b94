"""A trained model, loaded from its work folder."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.parallel import choose
from data_prep.features.contents import FeaturesFile
from data_prep.features.opening import open_features
from data_prep.features.recipe import require_same_recipe
from data_prep.loading.feature_stores import store_on_disk
from experiments.runs.build import build_model, build_objective, feature_dtype, features_of_a_block
from experiments.runs.calibration import Temperature
from experiments.runs.config import RunConfig, read_config, with_flags
from experiments.runs.models import MODELS, WITH_ATTENTION, describe_looking, levels_of
from experiments.runs.predictor import Predictor
from experiments.runs.split import split_of_run


def feature_metadata(file: FeaturesFile) -> dict:
    """Returns the facts about the features that a checkpoint stores."""
    return {
        "class_names": list(file.class_names),
        "multi_label": file.multi_label,
        "recipe": file.recipe,
        "split_id": file.split_id,
        "feature_shape": list(file.features.shape[1:]),
        **({"level_shapes": level_shapes(file)} if file.levels else {}),
        "videos_sha256": hashlib.sha256(repr((file.names, file.num_frames.tolist())).encode()).hexdigest(),
    }


def level_shapes(file: FeaturesFile) -> dict[str, list[int]]:
    """Returns [K, K, D] of each further level of a features file."""
    return {name: list(rows.shape[1:]) for name, rows in file.levels.items()}


@dataclass(frozen=True)
class TrainedModel:
    """A model with its parameters and the facts about its training data.

    Attributes:
      workdir: its folder.
      config: its flags.
      params: its parameters.
      predictor: predicts batches of blocks with these parameters.
      epoch: of the checkpoint.
      class_names: C names, in the order of the logits.
      multi_label: whether a clip may have several labels.
      recipe: of the features it was trained on.
      feature_shape: [K, K, D].
      split_id: of the split it was trained on.
      temperature: at which its probabilities are calibrated.
      level_shapes: [K, K, D] of each further level of these features, whether the model reads it or not.
    """

    workdir: Path
    config: RunConfig
    params: dict
    predictor: Predictor
    epoch: int
    class_names: list[str]
    multi_label: bool
    recipe: dict
    feature_shape: list[int]
    split_id: str
    temperature: Temperature
    level_shapes: dict[str, list[int]] = dataclasses.field(default_factory=dict)

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels that the model reads, the first one first; () for one level."""
        return levels_of(self.config)

    @property
    def input_shapes(self) -> list[list[int]]:
        """[K, K, D] of each level that the model reads."""
        return [self.level_shapes.get(level, self.feature_shape) for level in self.levels or ("",)]

    def store(self, file: FeaturesFile):
        """Returns a feature store of a file on disk, with the levels that the model reads."""
        return store_on_disk(file, self.predictor.dtype, self.levels)

    @property
    def has_attention(self) -> bool:
        """Whether there is a location softmax."""
        return MODELS[self.config.model.model].has_attention

    def require_attention(self, purpose: str = "to show"):
        """Raises `InputError` for a model that has none for some purpose."""
        if not self.has_attention:
            name = self.config.model.model
            raise InputError(f"{self.workdir}: model={name} has no attention {purpose}; train {WITH_ATTENTION}")

    def require_one_level(self, purpose: str):
        """Raises `InputError` for a model of several levels, which cannot be used for some purpose."""
        if self.levels:
            raise InputError(f"{self.workdir}: levels={self.config.model.levels}: {purpose} is for models of one level")

    def with_glimpse_rule(self, rule: str) -> "TrainedModel":
        """Returns the model with another glimpse rule.

        Raises:
          InputError: for a model that does not have hard attention.
        """
        if not describe_looking(self.config):
            kind = f"attention={self.config.attention.attention}" if self.has_attention else "no attention"
            raise InputError(
                f"glimpse_rule={rule}: {self.workdir} is a run with {kind}; it is for attention=hard, window"
            )
        config = with_flags(self.config, glimpse_rule=rule)
        return dataclasses.replace(
            self,
            config=config,
            predictor=build_predictor(config, len(self.class_names), self.multi_label, self.predictor.parallel),
        )

    def open_features(self, path=None) -> FeaturesFile:
        """Opens features for this model; by default the file that it was trained on.

        Labels come back in the order of this model's classes, and what its training held out as "validation".

        Raises:
          InputError: where the features are of another recipe or shape, or have classes that the model does not have,
            or several labels where it has one.
        """
        file = open_features(path or self.config.data.features)
        require_same_recipe(self.recipe, file.recipe)
        if file.recipe["random"]:
            print("NOTE: these features are of a RANDOM network: these are trial outputs, not results")
        found = list(file.features.shape[1:])
        if found != self.feature_shape:
            raise InputError(f"features of shape {found} a frame: this model has weights for {self.feature_shape}")
        if file.multi_label != self.multi_label:
            has, knows = ("several labels", "one label") if file.multi_label else ("one label", "several labels")
            raise InputError(f"features of clips that have {has} each: this model was trained for {knows}")
        unknown = sorted(set(file.class_names) - set(self.class_names))
        if unknown:
            raise InputError(f"unknown classes {', '.join(unknown)}: the model knows {', '.join(self.class_names)}")
        labels = np.zeros((len(file.labels), len(self.class_names)), np.uint8)
        labels[:, [self.class_names.index(name) for name in file.class_names]] = file.labels
        splits = file.splits
        if file.split_id == self.split_id:
            splits = split_of_run(file, self.config)
        else:
            print("NOTE: these features have another split than those of the training: check that no clip is in both")
        return dataclasses.replace(file, labels=labels, class_names=self.class_names, splits=splits)


def build_predictor(config: RunConfig, num_classes: int, multi_label: bool, parallel) -> Predictor:
    """Returns the `Predictor` of a configuration."""
    model = build_model(config, num_classes, multi_label)
    return Predictor(model, build_objective(config, multi_label), parallel, feature_dtype(config.model))


def load(workdir, checkpoint: str = "best", glimpse_rule: str | None = None) -> TrainedModel:
    """Loads the "best" or the "latest" checkpoint of a run, with its own glimpse rule or another.

    Raises:
      InputError: where there is none, it does not fit the configuration beside it, or glimpse rules have no effect on
        it.
    """
    workdir = Path(workdir)
    config = read_config(workdir)
    with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
        metadata = checkpoints.metadata(checkpoint)
        model = build_model(config, len(metadata["class_names"]), metadata["multi_label"])
        level_shapes = metadata.get("level_shapes", {})
        x = features_of_a_block(config, metadata["feature_shape"], level_shapes)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        parallel = choose("auto")
        params = checkpoints.params(parallel.abstract(variables["params"]), checkpoint)
    found = TrainedModel(
        workdir=workdir,
        config=config,
        params=params,
        predictor=build_predictor(config, len(metadata["class_names"]), metadata["multi_label"], parallel),
        epoch=metadata["epoch"],
        class_names=metadata["class_names"],
        multi_label=metadata["multi_label"],
        recipe=metadata["recipe"],
        feature_shape=metadata["feature_shape"],
        split_id=metadata["split_id"],
        level_shapes=level_shapes,
        temperature=Temperature.of_run(workdir, metadata),
    )
    return found.with_glimpse_rule(glimpse_rule) if glimpse_rule else found
