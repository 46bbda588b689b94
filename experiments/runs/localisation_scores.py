"""Localisation: a model's attention, or its evidence, inside known boxes, compared with uniform attention."""

import functools
from collections.abc import Mapping

import numpy as np
from scipy.special import entr

from attention_ar.errors import InputError, printable
from attention_ar.localisation import attention_mass_in_box, box_area, pointing_chance, pointing_game
from data_prep.common.files import write_csv
from data_prep.datasets.boxes import box_cell_weights, read_boxes
from data_prep.features.contents import FeaturesFile
from data_prep.loading.block_table import Blocks
from data_prep.video.frames import upright_size

MEASURES = ("mass", "area", "pointing", "pointing_chance", "entropy")


def localisation_file(explain: str) -> str:
    """Returns the name of the file of `Localisation.write` in an evaluation's folder."""
    return "localisation.csv" if explain == "attention" else f"localisation_{explain}.csv"


class Localisation:
    """Measures the attention inside the boxes of a file, batch by batch.

    A frame counts with its mean over the blocks (and steps) that see it; a clip with the mean over its frames that have
    a box and that a block sees; the result is the mean over the clips. So every clip counts once, as in the metrics,
    whatever its length and the stride. Of the evidence, a step at which no cell speaks for the class has no place, and
    does not count.

    Args:
      path: a boxes file, see `data_prep.datasets.boxes`. Its frames are those of the clips, also where
        extraction has reduced the rate.
      file: the FeaturesFile.
      blocks: all that will be added. Their clips are opened for the size of the frames.
      data_dir: the folder of the clips; by default the one they were extracted from.
      explain: what is measured, "attention" or "evidence".

    Raises:
      InputError: where no frame of these blocks has a box, a clip that has some is not on disk, a box leaves the frame,
        and see `read_boxes`.
    """

    def __init__(self, path, file: FeaturesFile, blocks: Blocks, data_dir=None, explain="attention"):
        self._explain = explain
        self._file, self._videos = file, np.unique(blocks.video)
        num_rows = len(file.features)
        self._seen = np.zeros(num_rows, bool)
        self._seen[blocks.rows] = True
        video_of = {file.names[video]: video for video in self._videos}

        @functools.cache
        def frame_size(clip: str):
            return upright_size(file.clip_path(video_of[clip], data_dir)) if clip in video_of else None

        boxes = read_boxes(path, frame_size, file.names)
        say_what_fits_no_frame(path, boxes, file)
        self._boxes = np.full((num_rows, 4), np.nan)  # Of each row, in shares of the frame's width and height.
        for clip in boxes.keys() & video_of.keys():
            video = video_of[clip]
            first, count = file.first_row[video], file.num_frames[video]
            of_rows = boxes[clip].at(file.clip_frames(video))
            self._boxes[first : first + count] = of_rows / np.tile(frame_size(clip), 2)
        self._has_box = ~np.isnan(self._boxes[:, 0])
        if not np.any(self._has_box & self._seen):
            raise InputError(
                f"{path}: no box in any frame of the {len(self._videos)} clips to be evaluated; "
                f"its paths must be as in the features file, for example {file.names[self._videos[0]]}"
            )
        self._sums, self._times = np.zeros((num_rows, len(MEASURES))), np.zeros(num_rows)
        by_step = len(self._videos), blocks.rows.shape[1]
        self._step_sums, self._step_times = np.zeros((*by_step, len(MEASURES))), np.zeros(by_step)

    def add(self, rows, l):
        """Adds some blocks.

        Args:
          rows: of the features file, `<int>[n, T]`.
          l: the attention there, or the evidence, see `explanations.as_maps`, `<float>[n, T, K²]`.
        """
        boxed, repeated = self._has_box[rows] & np.any(l, axis=-1), np.diff(rows, axis=1, prepend=-1) == 0
        (_, steps), padding = np.nonzero(boxed), repeated[boxed]
        rows, l = rows[boxed], l[boxed]
        cells = box_cell_weights(self._boxes[rows], 1, 1, grid=self._file.features.shape[1])
        found = (attention_mass_in_box(l, cells), box_area(cells), pointing_game(l, cells), pointing_chance(cells))
        found = np.stack([*found, entr(l).sum(axis=-1)], axis=-1)
        np.add.at(self._sums, rows, found)
        np.add.at(self._times, rows, 1)
        owner = np.searchsorted(self._file.first_row, rows, side="right") - 1
        place = np.searchsorted(self._videos, owner)[~padding], steps[~padding]
        np.add.at(self._step_sums, place, found[~padding])
        np.add.at(self._step_times, place, 1)

    def scores(self) -> dict:
        """Returns the scores, when all blocks were added.

        `mass`: share of the attention inside the boxes; `area`: share of the frame they cover, which equals the mass of
        uniform attention; `ratio` is the quotient. `pointing` is the share of the frames whose most attended cell is a
        hit, see `pointing_game`, `pointing_chance` that of a random cell. `entropy` is in nats. `num_clips` and
        `num_frames` have a box; beside them `clips_without_box` of all clips, and `frames_without_box` of those clips,
        were left out. `by_class` has the same means over the clips of each class, and `by_step` over the blocks' steps
        1 to T of each clip; there, padding is left out, so that the last steps are of fewer clips. Of the evidence,
        `frames_without_evidence`, which have a box, were left out, too.

        Raises:
          InputError: where no cell speaks for the class in any frame that has a box.
        """
        by_clip = self._by_clip()
        if not by_clip:
            raise InputError("no cell speaks for the class in any frame that has a box; try --explain=attention")
        clips, values = [clip for clip, *_ in by_clip], np.array([values for *_, values in by_clip])
        silent = {"frames_without_evidence": sum(silent for _, _, silent, _, _ in by_clip)}
        labels = self._file.labels[clips] != 0
        present = [(n, name) for n, name in enumerate(self._file.class_names) if labels[:, n].any()]
        return {
            "explain": self._explain,
            **_means(values),
            "num_frames": sum(counted for _, counted, *_ in by_clip),
            "clips_without_box": len(self._videos) - len(by_clip),
            "frames_without_box": sum(bare for _, _, _, bare, _ in by_clip),
            **(silent if self._explain == "evidence" else {}),
            "by_class": {name: _means(values[labels[:, n]]) for n, name in present},
            "by_step": self._by_step(),
        }

    def _by_step(self) -> list[dict]:
        found = []
        by_step = zip(np.moveaxis(self._step_sums, 1, 0), self._step_times.T, strict=True)
        for step, (sums, times) in enumerate(by_step, 1):
            seen = times > 0
            if seen.any():
                found.append({"step": step, **_means(sums[seen] / times[seen, None])})
        return found

    def write(self, path):
        """Writes one line per clip that has boxes."""
        rows = [
            [self._file.names[clip], counted, *(f"{value:.6f}" for value in values), f"{values[0] / values[1]:.6f}"]
            for clip, counted, _, _, values in self._by_clip()
        ]
        write_csv(path, ["path", "num_frames", *MEASURES, "ratio"], rows)

    def _by_clip(self):
        """Of each clip that counts: its index; the numbers of its frames that count, that have a box and no evidence,
        and that have no box; and the means over the first."""
        found = []
        for video in self._videos:
            first = self._file.first_row[video]
            rows = slice(first, first + self._file.num_frames[video])
            counted, seen, has_box = self._times[rows] > 0, self._seen[rows], self._has_box[rows]
            if counted.any():
                values = self._sums[rows][counted] / self._times[rows][counted, None]
                numbers = (int(which.sum()) for which in (counted, seen & has_box & ~counted, seen & ~has_box))
                found.append((video, *numbers, values.mean(axis=0)))
        return found


def _means(values: np.ndarray) -> dict:
    """Returns the means over clips, `<float64>[num_clips, measures]`, by name, with their ratio and number."""
    means = dict(zip(MEASURES, values.mean(axis=0).tolist(), strict=True))
    return {**means, "ratio": means["mass"] / means["area"], "num_clips": len(values)}


def say_what_fits_no_frame(path, boxes: Mapping, file: FeaturesFile):
    """Prints boxes that fit no row: a path may be misspelt, or frames may be counted from 1."""
    video_of = {name: video for video, name in enumerate(file.names)}
    if unknown := sorted(boxes.keys() - video_of.keys()):
        first = printable(unknown[0])
        print(f"NOTE: {path}: {len(unknown)} of {len(boxes)} clips are not in the features file, first {first}")
    beyond = []
    for clip in sorted(boxes.keys() & video_of.keys()):
        video = video_of[clip]
        most = file.clip_frames(video)[-1] + max(1, round(file.native_fps[video] / file.fps[video]))
        beyond += [(clip, frame, most) for frame in boxes[clip].frames[boxes[clip].frames >= most].tolist()]
    if beyond:
        (clip, frame, most), boxes_are = beyond[0], "1 box is" if len(beyond) == 1 else f"{len(beyond)} boxes are"
        print(
            f"NOTE: {path}: {boxes_are} of frames that do not exist: {printable(clip)} has a box for frame {frame}; "
            f"frames count from 0, and it has {most} at most"
        )


def describe_localisation(scores: dict) -> str:
    """Returns the console's line about `Localisation.scores`."""
    without_box = [
        f"{scores[f'{what}_without_box']} {what}" for what in ("clips", "frames") if scores[f"{what}_without_box"]
    ]
    left_out = [f"; without a box, and left out: {' and '.join(without_box)}"] * bool(without_box)
    if silent := scores.get("frames_without_evidence"):
        left_out.append(f"; where no cell speaks for the class, and left out: {silent} frames")
    return (
        f"{scores['explain']} in the boxes: {100 * scores['mass']:.1f} % of it, in {100 * scores['area']:.1f} % of "
        f"the frame, {scores['ratio']:.2f} times as dense as uniform attention; strongest cell in the box in "
        f"{100 * scores['pointing']:.1f} % of the frames (a random cell {100 * scores['pointing_chance']:.1f} %); "
        f"{scores['num_clips']} clips, {scores['num_frames']} frames"
    ) + "".join(left_out)
