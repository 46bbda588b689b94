"""Parity of blocks, batches, votes and average precision with recorded runs of the authors' code.

Its data handler and its evaluation fail in some cases. A case's own data shows what they get wrong;
the table then names the failure, and the row is ok if that failure explains all of the difference.
"""

import functools
import math
import re

import numpy as np

from attention_ar.blocks import block_frames
from attention_ar.errors import InputError
from attention_ar.released.blocks import batches, released_block_table, released_skip
from attention_ar.released.evaluation import accuracy, average_precisions, mean_average_precision, vote
from data_prep.released.layout import NUM_CELLS, parse_frame_counts, parse_labels, read_released_dataset
from experiments.parity_checks.table import Case, compare, refuses, same, stated


class Windows:
    """The blocks of a data set as the authors' data handler numbers them: by the row at which they start.

    Attributes:
      cubes: the features of each video, `<float32>[F, 49, D]`.
      first_row: the row of each video's first frame.
      video, start: of each block, the video and the frame at which it starts.
    """

    def __init__(self, dataset, num_steps, skip, stride):
        counts = dataset.frame_counts
        self.num_steps, self.skip = num_steps, skip
        self.cubes = [dataset.frames(video, np.arange(count)) for video, count in enumerate(counts)]
        self.first_row = np.cumsum(counts) - counts
        self.video, self.start = released_block_table(counts, num_steps, skip, stride)

    @property
    def rows(self):
        """The row of each block's first frame."""
        return self.first_row[self.video] + self.start

    @functools.cached_property
    def everything(self):
        """The features of all videos, one after another, `<float32>[frames, 49, D]`."""
        return np.concatenate(self.cubes)

    def read(self, video, start):
        """Returns the block of a video that starts at a frame, `<float32>[T, 49, D]`."""
        cubes = self.cubes[video]
        return cubes[block_frames(start, len(cubes), self.num_steps, self.skip)]

    def read_by_length(self, row, length):
        """Returns what the original reads from a row on if it takes the video for `length` frames long.

        None where that runs over the end of the file, for which it crashes.
        """
        rows = row + block_frames(0, length, self.num_steps, self.skip)
        if length >= self.num_steps * self.skip:
            rows = row + self.skip * np.arange(self.num_steps)
        return self.everything[rows] if rows[-1] < len(self.everything) else None


def data_case(case: Case):
    """Yields the rows of one recorded data handler."""
    about, recorded, name = case.about, case.arrays, case.name
    dataset = read_released_dataset(case.inside(about["data"]), about["split"])
    try:
        skip = released_skip(about["fps"])
    except InputError:
        crashed = bool(np.all(recorded["batch_n_ex"] == -1))
        yield stated(name, f"the original crashes at fps {about['fps']:g}; ours: clear error", crashed)
        return
    windows = Windows(dataset, about["T"], skip, about["stride"])
    order = np.argsort(windows.rows, kind="stable")
    if about["numpy_random_seed"] is None:
        recorded_order = np.arange(len(recorded["frame_indices"]))
    else:  # They shuffle; the order of blocks is not compared.
        recorded_order = np.argsort(recorded["frame_indices"], kind="stable")
    yield same(name, "number of videos", len(dataset.names), recorded["num_videos"])
    yield same(name, "number of blocks", len(windows.video), recorded["dataset_size"])
    yield same(name, "numbers in a row", NUM_CELLS * dataset.num_maps, recorded["frame_size"])
    yield same(name, "ends of the videos", np.cumsum(dataset.frame_counts), recorded["vid_boundary"])
    yield same(name, "block starts", windows.rows[order], recorded["frame_indices"][recorded_order])
    if len(windows.video) != len(recorded_order):
        return
    yield same(name, "labels of the blocks", dataset.labels[windows.video[order]], recorded["labels"][recorded_order])
    yield same(name, "lengths of the blocks' videos", dataset.frame_counts[windows.video], recorded["lengths"])
    pairs = np.stack([windows.rows, windows.video], axis=1)[order]
    yield same(name, "videos of the blocks", pairs, recorded["video_ind"][np.argsort(recorded["video_ind"][:, 0])])
    yield from batch_rows(case, dataset, windows, order[np.argsort(recorded_order, kind="stable")])
    yield from single_rows(case, dataset, windows)


def batch_rows(case: Case, dataset, windows, order):
    """Yields the rows on the batches that the data handler returned; `order` is that of its blocks, in our numbers."""
    recorded, name, about = case.arrays, case.name, case.about
    held = Held(case)
    stale = crashed = 0
    explained = True
    for b, numbers in enumerate(batches(len(order), about["batch_size"])):
        size = int(recorded["batch_n_ex"][b])
        runs_over = False
        for j, number in enumerate(order[numbers]):
            video, start = windows.video[number], windows.start[number]
            block = windows.read(video, start)
            length = int(recorded["lengths"][numbers[j]])
            if length != dataset.frame_counts[video]:
                theirs = windows.read_by_length(windows.rows[number], length)
                runs_over |= theirs is None
                if theirs is None or not np.array_equal(theirs, block):
                    stale += 1
                    block = theirs
            if size != -1 and block is not None:
                held.add("batch", (b, slice(None), j), block, dataset.labels[video])
        if size == -1:
            crashed += 1
            explained &= runs_over
        else:
            held.equal("examples in a batch", len(numbers), size)
            held.add_filling((b, slice(None), slice(len(numbers), None)))
    yield from held.rows("batches")
    if stale:
        what = "the original reads shuffled blocks by another video's length; ours by their own"
        yield stated(name, what, explained, f"{stale} of {len(order)}")
    if crashed:
        what = "the original crashes where that length is beyond the end of the file; ours reads the batch"
        yield stated(name, what, explained, f"{crashed} times")
    if about["after_last_batch_without_Reset"]:
        total = sum(len(numbers) for numbers in batches(len(order), about["batch_size"]))
        yield stated(name, "the original raises past the last batch; ours ends", total == len(order))


def single_rows(case: Case, dataset, windows):
    """Yields the rows on the notebook's single examples: the block of each video from an offset on."""
    recorded = case.arrays
    held = Held(case)
    failures = {"returns zeros": 0, "raises": 0}
    explained = True
    for key in sorted(recorded):
        match = re.fullmatch(r"(single_.*_off(\d+))_ok", key)
        if not match:
            continue
        prefix, offset = match[1], int(match[2])
        for video, ok in enumerate(recorded[key]):
            count = int(dataset.frame_counts[video])
            if offset >= count:
                continue
            position = (video, slice(None), 0)
            if count - offset >= windows.num_steps * windows.skip:
                explained &= bool(ok)
                held.add(prefix, position, windows.read(video, offset), dataset.labels[video])
            elif ok:
                held.add_labels(prefix, position, dataset.labels[video])
                failures["returns zeros"] += 1
                explained &= not np.any(recorded[f"{prefix}_sums"][position])
            else:
                failures["raises"] += 1
    yield from held.rows("single examples")
    for failure, count in failures.items():
        if count:
            what = f"the original {failure} where a single example is short; ours repeats the last frame"
            yield stated(case.name, what, explained, f"{count} times")


class Held:
    """Collects our blocks beside the recorded numbers about theirs."""

    def __init__(self, case: Case):
        self._case = case
        self._probes = np.array(case.about["probes_loc_ch"])
        self._pairs = {}

    def add(self, prefix, position, block, label):
        """Compares a block `<float32>[T, 49, D]` and its label with the record at a position of `prefix`_*."""
        recorded = self._case.arrays
        probes = block[:, self._probes[:, 0], self._probes[:, 1]]
        self.equal("first number of each frame", block[:, 0, 0], recorded[f"{prefix}_frames"][position])
        self.equal("numbers at some cells and channels", probes, recorded[f"{prefix}_probes"][position])
        self.equal("sums", block.sum(axis=(1, 2), dtype=np.float64), recorded[f"{prefix}_sums"][position])
        self.add_labels(prefix, position, label)

    def add_labels(self, prefix, position, label):
        """Compares a label with those that were recorded at a position."""
        labels = self._case.arrays[f"{prefix}_y"][position]
        self.equal("labels", np.broadcast_to(label, labels.shape), labels)

    def add_filling(self, position):
        """Compares the zero padding of a batch with the record at that position."""
        recorded = self._case.arrays["batch_sums"][position]
        self.equal("padding of the last batch", np.zeros_like(recorded), recorded)

    def equal(self, quantity, ours, recorded):
        """Notes a pair of numbers that must agree."""
        self._pairs.setdefault(quantity, []).append((np.ravel(ours), np.ravel(recorded)))

    def rows(self, what):
        """Yields one row for each quantity."""
        for quantity, pairs in self._pairs.items():
            ours, recorded = (np.concatenate(side) for side in zip(*pairs, strict=True))
            # Sums of 50 176 numbers depend on the order of adding.
            tolerance = 1e-12 if quantity == "sums" else 0.0
            yield compare(self._case.name, f"{what}: {quantity}", ours, recorded, tolerance)


def evaluation_case(case: Case):
    """Yields the rows of one recorded evaluation of given predictions of blocks."""
    about, recorded, name = case.about, case.arrays, case.name
    counts = np.array([int(count) for count in about["framenum_file"].split()])
    labels = parse_labels(about["labels_file"])
    video, start = released_block_table(counts, about["T"], released_skip(about["fps"]), about["stride"])
    rows = (np.cumsum(counts) - counts)[video] + start
    yield same(name, "block starts", rows, recorded["frame_indices"])
    if len(rows) != len(recorded["frame_indices"]):
        return
    empty = counts == 0
    if np.any(empty):
        what = "the original gives a video of 0 frames the first block of the next; ours: clear error"
        yield refuses(name, what, lambda: parse_frame_counts(about["framenum_file"]))
    # What remains is evaluated without those videos; after one at the very start the original's lines are displaced.
    kept = ~empty & ~np.concatenate([[False], np.logical_and.accumulate(empty)[:-1]])
    of_kept = kept[video]
    yield same(name, "videos of the blocks", video[of_kept], recorded["window_video"][of_kept])
    yield from text_rows(case, video, np.flatnonzero(kept))
    renumbered = np.cumsum(~empty) - 1
    block_video, predictions = renumbered[video[~empty[video]]], recorded["window_preds"][~empty[video]]
    rows_of = average_precision_rows if labels.ndim == 2 else vote_rows
    yield from rows_of(case, block_video, predictions, labels[~empty], kept, empty)


def text_rows(case: Case, video, kept):
    """Yields the row on the text files in which the original lists the predictions of each video's blocks."""
    for file, text in case.about["files_written"].items():
        if file == "_names":
            continue
        predictions = case.arrays["window_preds"]
        if predictions.ndim == 2:
            predictions = predictions[:, int(re.search(r"_mAP_(\d+)", file)[1]) - 1]
        lines = [line.split(" ")[1].split(",") if " " in line else [] for line in text.splitlines()]
        theirs = [np.array(lines[v], np.float64) for v in kept]
        ours = [predictions[video == v] for v in kept]
        fits = all(len(a) == len(b) for a, b in zip(ours, theirs, strict=True))
        yield stated(case.name, "number of blocks of each video", fits)
        if fits:  # They print 12 digits.
            quantity = "predictions of the blocks, by video"
            yield compare(case.name, quantity, np.concatenate(ours), np.concatenate(theirs), 1e-11, file)


def vote_rows(case: Case, block_video, predictions, labels, kept, empty):
    """Yields the rows on votes and accuracy."""
    recorded, name = case.arrays, case.name
    classes = vote(predictions.astype(np.int64), block_video, len(labels))
    shown = kept[~empty]
    yield same(name, "votes", classes[shown], recorded["locals_pred"][kept])
    truth = recorded["locals_truth"]
    ends = case.about["labels_file"].endswith("\n")
    yield same(name, "labels", labels[: None if ends else -1], truth[~empty][: None if ends else -1])
    ours = accuracy(classes, labels)
    if case.about["error"]:
        what = "the original raises on a labels file without a final newline; ours scores it"
        yield stated(name, what, not ends and math.isfinite(ours))
        return
    quantity = "accuracy"
    if not ends and truth[-1] != labels[-1]:
        quantity = (
            "accuracy: the original misreads the last of the labels without a final newline; compared with its label"
        )
        ours = accuracy(classes, np.append(labels[:-1], truth[-1]))
    if np.any(empty):
        quantity = "accuracy: the original counts a video of 0 frames; compared with its vote on it"
        whole = recorded["locals_pred"].copy()
        whole[kept] = classes[shown]
        ours = accuracy(whole, truth)
    yield compare(name, quantity, ours, recorded["result"], 1e-12)


def average_precision_rows(case: Case, block_video, predictions, labels, kept, empty):
    """Yields the rows on scores, average precisions and their mean."""
    recorded, name = case.arrays, case.name
    if np.any(empty):
        return
    scores = np.zeros(labels.shape)
    np.add.at(scores, block_video, predictions.astype(np.float64))
    scores /= np.bincount(block_video)[:, None]
    precisions, mean = average_precisions(scores, labels), mean_average_precision(scores, labels)
    if case.about["error"]:
        what = "the original raises on a labels file without a final newline; ours scores it"
        yield stated(name, what, not case.about["labels_file"].endswith("\n") and math.isfinite(mean))
        return
    theirs = recorded["locals_AP"]
    # Their scores are float32, in which more of them may be equal; their order is an accident in sets of more than 16.
    tied = np.array([len(np.unique(column)) < len(column) for column in scores.astype(np.float32).T])
    accident = tied & (len(labels) > 16)
    last = np.argsort(-scores[:, -1], kind="stable")
    yield compare(name, "scores of the videos", scores[last, -1], recorded["locals_pred"], 1e-6)
    if not accident[-1]:
        yield same(name, "order of the videos", last, recorded["locals_sortind"])
    sorted_labels = labels[recorded["locals_sortind"], -1]
    yield same(name, "labels in that order", sorted_labels, recorded["locals_truth"])
    undefined = ~np.any(labels, axis=0)
    plain = ~undefined & ~accident
    yield compare(name, "average precision", precisions[plain], theirs[plain], 1e-12)
    if np.any(accident & ~undefined):
        bounds = [precision_bounds(scores[:, c], labels[:, c]) for c in np.flatnonzero(accident & ~undefined)]
        within = [
            lo - 1e-12 <= p <= hi + 1e-12 for (lo, hi), p in zip(bounds, theirs[accident & ~undefined], strict=True)
        ]
        yield stated(name, "the original orders ties by accident above 16 videos; ours by number", all(within))
    if np.any(undefined):
        ok = bool(np.all(np.isnan(theirs[undefined]))) and math.isnan(recorded["result"]) and math.isfinite(mean)
        yield stated(name, "the original's mean is NaN where a class has no video; ours leaves it out and warns", ok)
    else:
        ours = np.mean(np.where(accident, theirs, precisions)) if np.any(accident) else mean
        yield compare(name, "mean average precision", ours, recorded["result"], 1e-12)


def precision_bounds(scores, labels) -> tuple[float, float]:
    """Returns the least and the greatest average precision that orders of equal scores give."""
    scores = scores.astype(np.float32)
    bounds = []
    for first in (-labels, labels):
        order = np.lexsort((first, -scores))
        ranked = labels[order]
        precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
        bounds.append(float(np.mean(precision[ranked == 1])))
    return min(bounds), max(bounds)
