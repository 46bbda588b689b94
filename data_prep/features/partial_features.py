"""A features file in the making, which survives being killed at any moment.

    features.h5.partial/
      plan.json      the plan of the extraction; another plan is refused
      rows           the future file: space for HDF5's head, then the float16 rows, clip after clip
      rows.1 …       the rows of further levels, the largest level's being in the future file
      journal.jsonl  one line per finished clip, written when its rows are safely on disk
      lock           held by the running process

Rows of clips that the journal does not list are discarded on opening. At the end HDF5's own head and tail are written
around the rows in place, and the file is renamed. So no row is moved or stored twice, and every step can be repeated.
Of several levels, the rows of the largest stay in place, and those of the others are copied behind them.
"""

import contextlib
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from data_prep.common.one_at_a_time import one_at_a_time
from data_prep.features.contents import FeaturesFile, stored_as
from data_prep.features.hdf5_file import DATA_OFFSET, dataset_offsets, write_layout
from data_prep.features.recipe import differing_fields
from data_prep.video.clip_frames import ClipRecord


def row_bytes(*feature_shapes) -> int:
    """Returns how many bytes the features `<float16>[K, K, D]` of a frame take, of all levels together."""
    return sum(2 * math.prod(shape) for shape in feature_shapes)


def partial_folder(output: Path) -> Path:
    return output.with_name(output.name + ".partial")


def begun_plan(output: Path) -> dict | None:
    """Returns the plan of an unfinished extraction to `output`; None where there is none."""
    folder = partial_folder(output)
    try:
        return json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}/plan.json: not readable ({error}); delete {folder} to start afresh") from None


def refuse_other_plan(output: Path, plan: dict):
    """Raises `InputError` if an unfinished extraction to `output` has another plan than `plan`."""
    folder, begun = partial_folder(output), begun_plan(output)
    if begun is not None and begun != plan:
        raise InputError(
            f"{folder} was begun with another plan: {_plan_differences(begun, plan)}; "
            f"resume with the old command, or delete {folder} to start afresh"
        )


class PartialFeatures:
    """The folder beside the output during extraction.

    Attributes:
      records: of the clips that are finished, in the plan's order.
      num_rows: rows written so far, those of unfinished clips included.
    """

    def __init__(self, output: Path, plan: dict, *feature_shapes):
        """Creates the folder, or resumes what a killed process left.

        Args:
          output: the future features file.
          feature_shapes: (K, K, D) of every level.
          plan: a table that JSON keeps as it is, with "clips" a list whose items begin with the clip's path.

        Raises:
          InputError: if the folder has another plan, is in use or cannot be written.
        """
        refuse_other_plan(output, plan)
        self._output = output
        self._folder = partial_folder(output)
        sizes = [row_bytes(shape) for shape in feature_shapes]
        self._largest = sizes.index(max(sizes))
        self._row_bytes = sizes
        with contextlib.ExitStack() as files:
            try:
                files.enter_context(one_at_a_time(self._folder / "lock", "extraction"))
                if not (self._folder / "plan.json").exists():
                    beside = self._folder / "plan.json.unfinished"
                    beside.write_text(json.dumps(plan), encoding="utf-8")
                    os.replace(beside, self._folder / "plan.json")
                self._rows = [
                    files.enter_context(open(self._rows_path(n), "a+b", buffering=0)) for n in range(len(sizes))
                ]
                self._journal = files.enter_context(open(self._folder / "journal.jsonl", "a+b", buffering=0))
            except OSError as error:
                raise InputError(f"{self._folder}: cannot be written ({error.strerror})") from None
            self._files = files.pop_all()
        self.records = self._recover([clip[0] for clip in plan["clips"]])
        self.num_rows = sum(record.num_frames for record in self.records)
        for n, rows in enumerate(self._rows):
            rows.truncate(self._rows_begin(n) + self.num_rows * self._row_bytes[n])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not (self.num_rows or self.records):  # Nothing is lost, and the next extraction may have another plan.
            self.discard()
        self._files.close()

    def add_rows(self, *levels: np.ndarray):
        """Appends `<float16>[n, K, K, D]` of every level."""
        with self._disk_errors():
            for file, rows in zip(self._rows, levels, strict=True):
                unwritten = memoryview(np.ascontiguousarray(rows, "<f2")).cast("B")
                while unwritten:  # an unbuffered file may take less than it is given
                    unwritten = unwritten[file.write(unwritten) :]
        self.num_rows += len(levels[0])

    def record(self, records: list[ClipRecord]):
        """Records clips as finished; all their rows have been added."""
        with self._disk_errors():
            for rows in self._rows:
                os.fsync(rows.fileno())
            self._journal.write(b"".join(json.dumps(record.as_json()).encode() + b"\n" for record in records))
            os.fsync(self._journal.fileno())
        self.records += records

    def finish(self, contents: FeaturesFile):
        """Makes the rows a features file, moves it to its place and removes the folder.

        Args:
          contents: everything about the file; of its features only the shapes count.
        """
        layout, largest = self._folder / "layout.h5", self._rows_path(self._largest)
        with self._disk_errors():
            if write_layout(layout, contents) != DATA_OFFSET:
                raise RuntimeError(f"this HDF5 does not put the rows at byte {DATA_OFFSET}")
            names = ["features", *map(stored_as, contents.levels)]
            offsets = dataset_offsets(layout, names)
            with open(layout, "rb") as source, open(largest, "r+b") as target:
                for n in sorted(range(len(names)), key=lambda n: offsets[names[n]]):
                    target.write(source.read(offsets[names[n]] - source.tell()))
                    if n != self._largest:
                        with open(self._rows_path(n), "rb") as rows:
                            shutil.copyfileobj(rows, target)
                    rows_end = offsets[names[n]] + self.num_rows * self._row_bytes[n]
                    source.seek(rows_end)
                    target.seek(rows_end)
                shutil.copyfileobj(source, target)
                target.truncate()
                target.flush()
                os.fsync(target.fileno())
            os.replace(largest, self._output)
        self.discard()

    def discard(self):
        """Removes the folder."""
        for file in (*self._rows, self._journal):
            file.close()  # A network file system would keep what is open.
        shutil.rmtree(self._folder)

    def _rows_path(self, level: int) -> Path:
        return self._folder / ("rows" if level == self._largest else f"rows.{level}")

    def _rows_begin(self, level: int) -> int:
        return DATA_OFFSET if level == self._largest else 0

    def _recover(self, paths: list[str]) -> list[ClipRecord]:
        """Reads the journal as far as it is valid and its rows exist; truncates the rest."""
        self._journal.seek(0)
        records, sound, num_rows = [], 0, 0
        rows_there = min(
            (os.fstat(rows.fileno()).st_size - self._rows_begin(n)) // self._row_bytes[n]
            for n, rows in enumerate(self._rows)
        )
        for line, path in zip(self._journal.read().splitlines(keepends=True), paths, strict=False):
            try:
                record = ClipRecord(**json.loads(line))
            except (ValueError, TypeError):
                break
            num_rows += record.num_frames
            if not line.endswith(b"\n") or record.path != path or num_rows > rows_there:
                break
            records.append(record)
            sound += len(line)
        self._journal.truncate(sound)
        return records

    @contextlib.contextmanager
    def _disk_errors(self):
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self._folder}: cannot be written ({error.strerror or error}); "
                "fix that, then run the same command to resume"
            ) from None


def _plan_differences(begun: dict, plan: dict) -> str:
    begun, plan = ({**table, **table["recipe"], "recipe": None} for table in (begun, plan))
    old_clips, new_clips = begun.pop("clips"), plan.pop("clips")
    phrases = differing_fields(plan, begun)
    if old_clips != new_clips:
        changed = [old[0] for old, new in zip(old_clips, new_clips, strict=False) if old != new]
        first = f", the first at {changed[0]}" if changed else ""
        phrases.append(f"the list of clips differs ({len(old_clips)} instead of {len(new_clips)}{first})")
    return "; ".join(phrases)
