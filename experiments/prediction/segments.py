"""What happens when in a long video: adjacent blocks of one class merged into segments, as CSV, JSON or subtitles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError, printable
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import BlockPrediction, ClipPrediction, ClipStream
from experiments.prediction.file_reports import FileReport, as_csv, as_json
from experiments.runs.calibration import NONE_OF_THESE

SUFFIXES = (".csv", ".json", ".srt")
_PRESENT = 0.5  # With several labels, a class is seen where it is at least as probable, unless the user says otherwise.


@dataclass(frozen=True)
class Segment:
    """A part of a video in which the model sees one class.

    Attributes:
      begin, end: seconds from the video's beginning.
      label: the class; None where no class is probable enough.
      confidence: mean probability of the class over the segment's blocks; None where there is none.
    """

    begin: float
    end: float
    label: int | None
    confidence: float | None


@dataclass(frozen=True)
class SegmentRule:
    """How blocks become segments.

    Attributes:
      smooth_blocks: a block's probabilities become their mean over so many blocks, this one in the middle.
      reject_below: a less probable class is not named; None names the most probable one, whatever it is.
      min_seconds: shorter segments become part of the neighbour whose class is the more probable one in their blocks;
        with several labels they are left out.
    """

    smooth_blocks: int = 1
    reject_below: float | None = None
    min_seconds: float = 0.0

    def segments(
        self, spans: Sequence[tuple[float, float]], probabilities, multi_label: bool, until: float = 0.0
    ) -> list[Segment]:
        """Returns the segments of a video, by their beginnings.

        Args:
          spans: when each block begins and ends, in seconds; both rise.
          probabilities: of each block, `<float>[n, C]`.
          until: where the video ends, if that is after its last block.
          multi_label: whether several classes may be seen at a time. Segments then may overlap, and there is none where
            no class is seen; else they cover the video.
        """
        if not len(spans):
            return []
        smooth = smoothed(np.asarray(probabilities, np.float64), self.smooth_blocks)
        edges = time_edges(spans)
        edges[-1] = max(edges[-1], until)
        if multi_label:
            return self._several(edges, smooth)
        labels = np.argmax(smooth, axis=1)
        if self.reject_below is not None:
            labels[smooth.max(axis=1) < self.reject_below] = -1
        starts, labels = self._without_short_ones(labels, smooth, edges)
        return [
            Segment(float(edges[first]), float(edges[last]), label, float(smooth[first:last, label].mean()))
            if label >= 0
            else Segment(float(edges[first]), float(edges[last]), None, None)
            for first, last, label in zip(starts, [*starts[1:], len(smooth)], labels, strict=True)
        ]

    def _several(self, edges: np.ndarray, smooth: np.ndarray) -> list[Segment]:
        threshold = _PRESENT if self.reject_below is None else self.reject_below
        found = [
            Segment(float(edges[first]), float(edges[last]), label, float(smooth[first:last, label].mean()))
            for label in range(smooth.shape[1])
            for first, last in _runs(smooth[:, label] >= threshold)
            if edges[last] - edges[first] >= self.min_seconds
        ]
        return sorted(found, key=lambda segment: (segment.begin, segment.end, segment.label))

    def _without_short_ones(self, labels: np.ndarray, smooth: np.ndarray, edges: np.ndarray) -> tuple[list, list]:
        """Returns the first block and the label of each segment: of the runs of equal labels, the shortest one that is
        too short is given to a neighbour, again and again."""
        sums = np.concatenate([np.zeros((1, smooth.shape[1])), np.cumsum(smooth, axis=0)])
        starts = np.arange(len(labels))
        while True:
            begins = np.append(True, labels[1:] != labels[:-1])
            starts, labels = starts[begins], labels[begins]
            ends = np.append(starts[1:], len(smooth))
            lengths = edges[ends] - edges[starts]
            n = int(np.argmin(lengths))
            if len(starts) == 1 or lengths[n] >= self.min_seconds:
                return starts.tolist(), labels.tolist()
            mean = (sums[ends[n]] - sums[starts[n]]) / (ends[n] - starts[n])
            neighbours = [labels[m] for m in (n - 1, n + 1) if 0 <= m < len(labels)]
            labels[n] = max(neighbours, key=lambda label: mean[label] if label >= 0 else -1.0)  # No class comes last.


def smoothed(probabilities: np.ndarray, smooth_blocks: int) -> np.ndarray:
    """Returns running means over `smooth_blocks` blocks, `<float64>[n, C]`; over fewer at either end."""
    if smooth_blocks == 1:
        return probabilities
    sums = np.concatenate([np.zeros((1, probabilities.shape[1])), np.cumsum(probabilities, axis=0)])
    at = np.arange(len(probabilities))
    first = np.maximum(at - (smooth_blocks - 1) // 2, 0)
    last = np.minimum(at + smooth_blocks // 2 + 1, len(probabilities))
    return (sums[last] - sums[first]) / (last - first)[:, None]


def time_edges(spans: Sequence[tuple[float, float]]) -> np.ndarray:
    """Returns where the time of each block begins and that of the last one ends, `<float64>[n + 1]`, in seconds.

    Blocks overlap, so a block stands for the time that is nearer to its middle than to those of the others. The first
    one stands for all before, from its beginning on, and the last one for all after, to its end.
    """
    begin, end = np.asarray(spans, np.float64).T
    middle = (begin + end) / 2
    return np.concatenate([begin[:1], (middle[1:] + middle[:-1]) / 2, end[-1:]])


def _runs(is_seen: np.ndarray) -> list[tuple[int, int]]:
    """Returns the first block of each run of true values, and the block after its last."""
    changes = np.flatnonzero(np.diff(is_seen.astype(np.int8), prepend=0, append=0))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def check_segments_path(path: str, clips: Sequence[str]):
    """Raises `InputError` where segments of these clips cannot be written to `path`."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"segments={path}: must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if suffix == ".srt" and len(clips) > 1:
        raise InputError(
            f"segments={path}: subtitles are of one video, not of {len(clips)} clips; name a .csv or .json"
        )


class SegmentsFile(FileReport):
    """The segments of all clips, as a file.

    Args:
      predictor: whose predictions these are.
      path: see `check_segments_path`.
      rule: how blocks become segments.
    """

    def __init__(self, predictor: ClipPredictor, path: str, rule: SegmentRule):
        super().__init__(path)
        self._predictor, self._rule = predictor, rule

    def begin(self, stream: ClipStream):
        self._spans, self._probabilities = [], []

    def block(self, stream: ClipStream, block: BlockPrediction):
        self._spans.append(block.seconds)
        self._probabilities.append(np.float32(self._predictor.calibrated(block.probabilities)))

    def clip(self, stream: ClipStream, result: ClipPrediction):
        names, multi_label = self._predictor.model.class_names, self._predictor.model.multi_label
        for segment in self._rule.segments(self._spans, self._probabilities, multi_label, result.seconds):
            row = {
                "path": stream.name,
                "start": round(segment.begin, 3),
                "end": round(segment.end, 3),
                "class": NONE_OF_THESE if segment.label is None else names[segment.label],
                "confidence": None if segment.confidence is None else round(segment.confidence, 4),
            }
            self.rows.append(row)
        self.write()

    def contents(self) -> bytes:
        kind = self.path.suffix.lower()
        if kind == ".json":
            return as_json(self.rows)
        if kind == ".csv":
            return as_csv(("path", "start", "end", "class", "confidence"), self.rows)
        return subtitles(self.rows).encode()


def subtitles(rows: Sequence[dict]) -> str:
    """Returns segments as SubRip subtitles, without those of no class."""
    named = [row for row in rows if row["confidence"] is not None]
    cues = [
        f"{number}\n{_clock(row['start'])} --> {_clock(row['end'])}\n{_plain(row['class'])} {row['confidence']:.2f}\n"
        for number, row in enumerate(named, 1)
    ]
    return "\n".join(cues)


def _clock(seconds: float) -> str:
    """Returns for example "01:02:03,250"."""
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def _plain(name: str) -> str:
    """A class's name on one line that no player takes for markup."""
    return printable(name).replace("<", "‹").replace(">", "›").replace("{", "(").replace("}", ")")
