"""Where a trained model looks, on the frames of the clips themselves (as in Figs. 1, 4, 6, 8, 10 and 11)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from attention_ar.blocks import block_frames
from attention_ar.errors import InputError
from data_prep.loading.block_table import Blocks, block_skip, cut_blocks
from data_prep.loading.feature_stores import OnDisk
from data_prep.video.frames import read_frames
from experiments.pictures import filmstrip
from experiments.runs import trained
from experiments.runs.explanations import maps_of
from experiments.runs.file_names import file_stem
from experiments.runs.video_predictions import HEALTH, label_of, mean_health, predict_blocks, predict_videos, videos_of

MAX_HEIGHT = 480  # pixels; pictures are smaller, and a long clip at full size would fill the memory


@dataclass(frozen=True)
class Glimpses:
    """A clip with a model's predictions and attention.

    Attributes:
      name: the clip's name in the features file.
      label: its class, or classes.
      prediction: probability of every class for the clip, `<float>[C]`.
      class_names: C names.
      frames: the frames that the model saw, `<uint8>[n, H, W, 3]`, RGB.
      attention: where it looks at each of them, l_t or what hard attention chose; or the evidence, see `watch`,
        `<float>[n, K²]`.
      explain: which of the two.
      fps: of these frames, per second.
      seconds: when each is shown, where that does not follow from `fps`, `<float>[n]`; else None.
      random_network: whether the features are of an untrained network.
    """

    name: str
    label: str
    prediction: np.ndarray
    class_names: list[str]
    frames: np.ndarray
    attention: np.ndarray
    explain: str
    fps: float
    seconds: np.ndarray | None
    random_network: bool

    def caption(self) -> str:
        """Returns for example "biking, taken for golf (0.83)"."""
        best = int(np.argmax(self.prediction))
        taken = self.class_names[best]
        verdict = "recognised" if taken in self.label.split("|") else f"taken for {taken}"
        note = " – white: what speaks for it" if self.explain == "evidence" else ""
        note += " – features of a RANDOM network" if self.random_network else ""
        return f"{self.label}, {verdict} ({self.prediction[best]:.2f}){note}"


@dataclass(frozen=True)
class Watched:
    """A model's predictions for one clip, at every frame that it sees.

    Attributes:
      frames: which these are among the clip's stored frames, `<int>[n]`, sorted.
      predictions: ŷ_t at each of them, `<float>[n, C]`.
      prediction: mean over the steps of all blocks, `<float>[C]`.
      attention: where it looks at each of them, or the evidence, see `Glimpses`, `<float>[n, K²]`; None for a model
        that has none.
      health: the `attention_health` numbers, means over the blocks; empty for a model without attention.
      fps: of these frames, per second.
    """

    frames: np.ndarray
    predictions: np.ndarray
    prediction: np.ndarray
    attention: np.ndarray | None
    health: dict
    fps: float


def glimpse_clip(
    model: trained.TrainedModel, file, video: int, prediction, data_dir=None, explain="attention"
) -> Glimpses:
    """Runs the model over one clip from its first frame to its last, block after block.

    Args:
      model: the model; with attention, if that is to be shown.
      file: features of the clip.
      video: its index there.
      prediction: of the clip, see `predict_videos`.
      data_dir: the folder that has the clip; by default the one it was extracted from.
      explain: see `watch`.

    Raises:
      InputError: the clip is not on disk.
    """
    (watched,) = watch(model, file, [video], batch_size=1, explain=explain)
    frames, seconds = _decode(file, video, watched.frames, data_dir)
    return Glimpses(
        name=file.names[video],
        label=label_of(file, video),
        prediction=prediction,
        class_names=file.class_names,
        frames=frames,
        attention=watched.attention,
        explain=explain,
        fps=watched.fps,
        seconds=seconds,
        random_network=file.recipe["random"],
    )


def watch(model: trained.TrainedModel, file, videos, batch_size: int, explain="attention") -> list[Watched]:
    """Runs a model over clips from their first frames to their last, block after block.

    Args:
      model: with attention or without.
      file: features of the clips.
      videos: their indices there.
      batch_size: blocks in a batch, of whatever clips.
      explain: "attention"; or "evidence" for the class that each block is taken for, see `explanations.as_maps`.
    """
    data = model.config.data
    skips = [block_skip(file, video, data.fps, data.block_rule) for video in videos]
    parts = [covering_blocks(file, v, data.num_steps, skip) for v, skip in zip(videos, skips, strict=True)]
    blocks = Blocks(np.concatenate([part.video for part in parts]), np.concatenate([part.rows for part in parts]))
    found = predict_blocks(
        model.predictor,
        model.params,
        OnDisk(file, model.predictor.dtype),
        blocks,
        batch_size,
        explain=maps_of(model, explain),
        keep_steps=True,
    )
    result, begin = [], 0
    for video, skip, part in zip(videos, skips, parts, strict=True):
        own = slice(begin, begin + len(part))
        begin += len(part)
        frames, first = seen_frames(file, part)
        by_step = {
            name: found[name][own].reshape(-1, found[name].shape[-1])[first]
            for name in ("step_predictions", "maps")
            if name in found
        }
        result.append(
            Watched(
                frames=frames,
                predictions=by_step["step_predictions"],
                prediction=found["predictions"][own].mean(axis=0, dtype=np.float64),
                attention=by_step.get("maps"),
                health=mean_health({name: found[name][own] for name in HEALTH if name in found}),
                fps=float(file.fps[video] / skip),
            )
        )
    return result


def seen_frames(file, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of its clip's stored frames the blocks of one clip see, sorted, `<int>[n]`, and where each is first
    seen among all steps of all blocks, `<int>[n]`."""
    rows, first = np.unique(blocks.rows.ravel(), return_index=True)  # A short clip repeats its last frame.
    return rows - file.first_row[blocks.video[0]], first


def covering_blocks(file, video: int, num_steps: int, skip: int) -> Blocks:
    """Cuts one video into blocks that lie side by side; the last one ends with the last frame, and may overlap."""
    num_frames = int(file.num_frames[video])
    num_sampled = 1 + (num_frames - 1) // skip
    starts = list(range(0, max(num_sampled - num_steps + 1, 1), num_steps))
    if starts[-1] + num_steps < num_sampled:
        starts.append(num_sampled - num_steps)
    frames = [block_frames(skip * start, num_frames, num_steps, skip) for start in starts]
    return Blocks(np.full(len(starts), video), file.first_row[video] + np.stack(frames))


def original_frames(file, video: int, wanted, data_dir=None) -> np.ndarray:
    """Decodes frames of a clip, as a player shows them and at most `MAX_HEIGHT` high.

    Args:
      file, video: the clip.
      wanted: indices among the clip's stored frames, sorted, `<int>[n]`.
      data_dir: see `glimpse_clip`.

    Returns:
      `<uint8>[n, H, W, 3]`, RGB.
    """
    return _decode(file, video, wanted, data_dir)[0]


def _decode(file, video: int, wanted, data_dir) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns what `original_frames` does, and when each is shown, in seconds, where extraction kept all frames of a
    clip whose rate varies; else None."""
    path = file.clip_path(video, data_dir)
    numbers = file.clip_frames(video)[np.asarray(wanted)]
    reader = read_frames(path, frames=numbers, size=None, colour="rgb24", to_end=False)
    kept = [at_most(frame, MAX_HEIGHT) for chunk in reader for frame in chunk]
    if file.mirrored[video]:
        kept = [frame[:, ::-1] for frame in kept]
    if len(kept) < len(numbers):
        raise InputError(f"{path}: has {reader.num_frames} frames, not as many as when its features were extracted")
    times, all_kept = reader.times, file.fps[video] == file.native_fps[video]
    if not (times.varies and all_kept):
        return np.stack(kept), None
    return np.stack(kept), float(times.tick) * (times.ticks[numbers] - times.ticks[numbers[0]])


def at_most(frame, height: int) -> np.ndarray:
    """Returns a frame `<uint8>[H, W, 3]`, downscaled to at most that height."""
    if frame.shape[0] <= height:
        return frame
    size = (round(frame.shape[1] * height / frame.shape[0]), height)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))


def most_confident(found, labels, right: bool, count: int) -> list[int]:
    """Returns the positions of the most confident correctly (or wrongly) classified videos."""
    best = np.argmax(found.predictions, axis=1)
    hit = labels[np.arange(len(best)), best] > 0
    order = np.argsort(-found.predictions.max(axis=1), kind="stable")
    return [int(i) for i in order if hit[i] == right][:count]


def find_clips(names, given) -> list[int]:
    """Returns the indices of the clips that the user named, in full or by an ending that no other clip shares."""
    indices = []
    for text in given:
        matches = [i for i, name in enumerate(names) if name == text] or [
            i for i, name in enumerate(names) if name.endswith(text)
        ]
        if len(matches) != 1:
            what = "no clip" if not matches else f"{len(matches)} clips"
            raise InputError(f"{text}: {what} of that name in the features file; name one as predictions.csv does")
        indices += matches
    return indices


def draw_glimpses(glimpses: Glimpses, folder, stem: str) -> Path:
    """Writes filmstrip (PNG), video (MP4) and animation (GIF) of a clip; returns the path of the first."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{stem}.png"
    filmstrip.filmstrip(glimpses.frames, glimpses.attention, glimpses.caption(), picture, seconds=glimpses.seconds)
    for ending in (".mp4", ".gif"):
        filmstrip.attention_movie(
            glimpses.frames,
            glimpses.attention,
            folder / f"{stem}{ending}",
            fps=glimpses.fps,
            seconds=glimpses.seconds,
            caption=glimpses.caption(),
        )
    return picture


def visualize(
    workdir,
    *,
    features=None,
    data_dir=None,
    split="test",
    checkpoint="best",
    clips=(),
    count=3,
    output=None,
    explain="attention",
    glimpse_rule=None,
):
    """Draws chosen clips or, where none is named, the most confident right and wrong ones of a split.

    The pictures of the evidence have names of their own, and stand beside those of the attention.

    Returns:
      The paths of the filmstrips.
    """
    model = trained.load(workdir, checkpoint, glimpse_rule)
    if explain == "attention":
        model.require_attention()
    ending = "" if explain == "attention" else f"_{explain}"
    file = model.open_features(features)
    folder = Path(output) if output else Path(workdir) / "figures"
    chosen = find_clips(file.names, clips) if clips else videos_of(file, split)
    data = model.config.data
    blocks = cut_blocks(file, chosen, data.num_steps, data.fps, data.stride, data.block_rule)
    store = OnDisk(file, model.predictor.dtype)
    found = predict_videos(model.predictor, model.params, store, blocks, model.config.training.batch_size)
    if clips:
        picked = [("", i) for i in range(len(found.video))]
    else:
        labels = file.labels[found.video]
        picked = [(f"right_{n}_", i) for n, i in enumerate(most_confident(found, labels, True, count), 1)]
        picked += [(f"wrong_{n}_", i) for n, i in enumerate(most_confident(found, labels, False, count), 1)]
    return [
        draw_glimpses(
            glimpse_clip(model, file, found.video[i], found.predictions[i], data_dir, explain),
            folder,
            prefix + file_stem(file.names[found.video[i]], file.names) + ending,
        )
        for prefix, i in picked
    ]
