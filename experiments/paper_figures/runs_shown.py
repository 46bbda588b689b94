"""Trained runs for the figures: which clips they get right and wrong, and where they look in a clip."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from attention_ar.errors import InputError
from attention_ar.metrics import video_predictions
from data_prep.features.contents import FeaturesFile
from data_prep.loading.block_table import Blocks, block_skip, cut_blocks
from data_prep.loading.feature_stores import OnDisk
from experiments.runs import trained
from experiments.runs.config import with_flags
from experiments.runs.models import describe_looking
from experiments.runs.video_predictions import HEALTH, label_of, mean_health, predict_blocks, videos_of
from experiments.runs.visualization import Watched, covering_blocks, find_clips, original_frames, watch


@dataclass(frozen=True)
class Survey:
    """A model's predictions for many clips.

    Attributes:
      videos: their indices in the features file, `<int64>[N]`.
      predictions: as in section 4.2, `<float64>[N, C]`.
      by_video: the `attention_health` numbers of each, means over its blocks, `<float64>[N]`.
      health: the same, means over all blocks.
    """

    videos: np.ndarray
    predictions: np.ndarray
    by_video: dict
    health: dict


@dataclass(frozen=True)
class Run:
    """A trained model with attention, and a features file of clips for it.

    Attributes:
      model: the model.
      file: the features.
      data_dir: the folder that holds the clips; None is the one they were extracted from.
    """

    model: trained.TrainedModel
    file: FeaturesFile
    data_dir: str | None

    @property
    def penalty(self) -> float:
        """λ."""
        return self.model.config.objective.attention_penalty

    def describe(self) -> str:
        """Returns for example "soft_attention, λ = 1, epoch 5, T = 30 at 30 fps"."""
        data = self.model.config.data
        name = f"{self.model.config.model.model}, λ = {self.penalty:g}, epoch {self.model.epoch}"
        attention = describe_looking(self.model.config)
        return f"{name}, T = {data.num_steps} at {data.fps:g} fps" + (f", attention {attention}" if attention else "")

    def with_params(self, params) -> "Run":
        """Returns the run with other parameters."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, params=params))

    def with_predictor(self, predictor) -> "Run":
        """Returns the run with another `Predictor`."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, predictor=predictor))

    def at_fps(self, fps: float) -> "Run":
        """Returns the run with clips sampled at another rate."""
        model = dataclasses.replace(self.model, config=with_flags(self.model.config, fps=fps))
        return dataclasses.replace(self, model=model)

    def skip(self, video: int) -> int:
        """Returns k: of the stored frames, the model sees every k-th."""
        return block_skip(self.file, video, self.model.config.data.fps, self.model.config.data.block_rule)

    def has_rate(self, video: int) -> bool:
        """Whether the clip's rate is high enough for the model."""
        try:
            return self.skip(video) > 0
        except InputError:
            return False

    def blocks(self, video: int) -> Blocks:
        """Returns blocks that lie side by side and cover the clip."""
        return covering_blocks(self.file, video, self.model.config.data.num_steps, self.skip(video))

    def look(self, video: int) -> Watched:
        """Runs the model over the `blocks` of a clip."""
        (watched,) = watch(self.model, self.file, [video], batch_size=8)
        return watched

    def survey(self, blocks: Blocks) -> Survey:
        """Runs the model over blocks of many clips."""
        store, batch_size = OnDisk(self.file, self.model.predictor.dtype), self.model.config.training.batch_size
        found = predict_blocks(self.model.predictor, self.model.params, store, blocks, batch_size)
        videos, owner = np.unique(blocks.video, return_inverse=True)
        return Survey(
            videos=videos,
            predictions=video_predictions(found["predictions"], owner, len(videos)),
            by_video={n: video_predictions(found[n][:, None], owner, len(videos))[:, 0] for n in HEALTH},
            health=mean_health(found),
        )

    def survey_as_trained(self, videos) -> Survey:
        """A `survey` of blocks cut as in training and evaluation."""
        data = self.model.config.data
        return self.survey(cut_blocks(self.file, videos, data.num_steps, data.fps, data.stride, data.block_rule))

    def survey_side_by_side(self, videos) -> Survey:
        """A `survey` of the blocks that `look` looks at, so that both predict the same."""
        parts = [self.blocks(video) for video in videos]
        return self.survey(Blocks(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("video", "rows"))))

    def clips(self, split: str, named=()) -> np.ndarray:
        """Returns the indices of the clips that are named, or else of those in a split."""
        return np.asarray(find_clips(self.file.names, named) if named else videos_of(self.file, split))

    def originals(self, video: int, wanted) -> np.ndarray:
        """Decodes frames of a clip, see `original_frames`."""
        return original_frames(self.file, video, wanted, self.data_dir)

    def is_right(self, video: int, prediction) -> bool:
        """Whether the most probable class is the clip's, or one of them."""
        return self.file.labels[video][np.argmax(prediction)] > 0

    def verdict(self, video: int, prediction) -> str:
        """Returns for example "correctly classified as “kiss” (0.83)" or "“pour” misclassified as “push” (0.62)"."""
        best, label = int(np.argmax(prediction)), label_of(self.file, video)
        name = f"“{self.file.class_names[best]}” ({prediction[best]:.2f})"
        if not self.is_right(video, prediction):
            return f"“{label.replace('|', '”, “')}” misclassified as {name}"
        others = f"; it is all of “{label.replace('|', '”, “')}”" if "|" in label else ""
        return f"correctly classified as {name}{others}"

    def predicted(self, video: int, prediction) -> list[str]:
        """Returns which class is most probable and, in a second line, how probable the clip's other classes are."""
        best = int(np.argmax(prediction))
        named = [f"“{name}” ({p:.2f})" for name, p in zip(self.file.class_names, prediction, strict=True)]
        right, it_is = ("correctly", "it is also") if self.is_right(video, prediction) else ("incorrectly", "it is")
        own = [named[c] for c in np.flatnonzero(self.file.labels[video]) if c != best]
        return [f"{right} predicted as {named[best]}", *([f"{it_is} {', '.join(own)}"] if own else [])]


def describe_attention(health: dict) -> str:
    """Returns for example "entropy 3.77 nats, moves 0.011 a step"."""
    return f"entropy {health['entropy']:.3f} nats, moves {health['movement']:.4f} a step"


def open_runs(workdirs, *, features=None, checkpoint="best", data_dir=None) -> list[Run]:
    """Opens runs, of which each must have attention.

    Raises:
      InputError: where one has none, and see `trained.load`.
    """
    runs = []
    for workdir in workdirs:
        model = trained.load(workdir, checkpoint)
        model.require_attention()
        runs.append(Run(model, model.open_features(features), data_dir))
    return runs


def rank(survey: Survey, labels, right: bool, by=None) -> list[int]:
    """Returns the positions of the correctly (or wrongly) classified clips, in descending order of a number.

    The first of each predicted class come before the second of any, so that a figure shows several classes.

    Args:
      survey: of the clips.
      labels: theirs, `[N, C]`.
      right: which.
      by: a number of each clip, `<float>[N]`; None is the probability of the predicted class.
    """
    by = survey.predictions.max(axis=1) if by is None else by
    best = np.argmax(survey.predictions, axis=1)
    hit = labels[np.arange(len(best)), best] > 0
    order = [int(i) for i in np.argsort(-by, kind="stable") if hit[i] == right]
    seen, place = np.zeros(labels.shape[1], int), {}
    for i in order:
        place[i] = seen[best[i]]
        seen[best[i]] += 1
    return sorted(order, key=place.get)
