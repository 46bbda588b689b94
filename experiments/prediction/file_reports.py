"""Predictions in a file beside what is printed: one line per clip, and the base of all such files."""

import contextlib
import csv
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path

from attention_ar.errors import InputError
from data_prep.common.files import write_whole
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import ClipPrediction, ClipStream
from experiments.prediction.output import Report

_WRITE_SECONDS = 5.0  # The whole file is written, so not after every clip of thousands.


class FileReport(Report, contextlib.AbstractContextManager):
    """A file that has what is known so far, now and then, and everything in the end, however that comes.

    Args:
      path: of the file; its folder is made.

    Attributes:
      rows: what is known so far.

    Raises:
      InputError: where it cannot be written.
    """

    def __init__(self, path):
        self.path, self.rows, self._written = Path(path), [], time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: the folder {self.path.parent} cannot be made ({error.strerror})") from None

    def __exit__(self, *_):
        write_whole(self.path, self.contents())

    def write(self):
        """Writes the file, if that was not done a moment ago."""
        if time.monotonic() - self._written >= _WRITE_SECONDS:
            write_whole(self.path, self.contents())
            self._written = time.monotonic()

    def contents(self) -> bytes:
        """Returns what stands in the file."""
        raise TypeError("a file has contents of its own")


class PredictionsFile(FileReport):
    """One line per clip, as CSV; of a clip that cannot be read, the reason.

    Args:
      predictor: whose predictions these are.
      path: of the file.
    """

    def __init__(self, predictor: ClipPredictor, path):
        super().__init__(path)
        self._predictor = predictor

    def clip(self, stream: ClipStream, result: ClipPrediction):
        probabilities = self._predictor.calibrated(result.probabilities)
        names = self._predictor.model.class_names
        row = {
            "path": stream.name,
            "predicted": self._predictor.answer(probabilities),
            "confidence": f"{max(probabilities):.6g}",
            "num_blocks": result.num_blocks,
            "seconds": f"{result.seconds:.3f}",
            "note": "; ".join(result.notes()),
        }
        self.rows.append(row | {f"p({name})": f"{p:.6g}" for name, p in zip(names, probabilities, strict=True)})
        self.write()

    def failure(self, name: str, error: Exception):
        self.rows.append({"path": name, "note": str(error)})

    def contents(self) -> bytes:
        columns = ("path", "predicted", "confidence", "num_blocks", "seconds", "note")
        return as_csv((*columns, *(f"p({name})" for name in self._predictor.model.class_names)), self.rows)


def check_predictions_path(path: str):
    """Raises `InputError` for a name that is not that of a CSV file."""
    if Path(path).suffix.lower() != ".csv":
        raise InputError(f"output={path}: must end in .csv")


def as_csv(columns: Sequence[str], rows: Sequence[dict]) -> bytes:
    """Returns rows as CSV; what is missing or None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")


def as_json(rows: Sequence[dict]) -> bytes:
    """Returns rows as JSON, one on each line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[{lines}]\n".encode(errors="backslashreplace")
