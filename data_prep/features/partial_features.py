"""A features file in the making, which survives being killed at any moment.

    features.h5.partial/
      plan.json      the plan of the extraction; another plan is refused
      rows           the future file: space for HDF5's head, then the float16 rows, clip after clip
      journal.jsonl  one line per finished clip, written when its rows are safely on disk
      lock           held by the running process

Rows of clips that the journal does not list are discarded on opening. At the end HDF5's own head and tail are written
around the rows in place, and the file is renamed. So no row is moved or stored twice, and every step can be repeated.
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
from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import DATA_OFFSET, write_layout
from data_prep.features.recipe import differing_fields
from data_prep.video.clip_frames import ClipRecord


def row_bytes(feature_shape) -> int:
    """Returns how many bytes the features `<float16>[K, K, D]` of a frame take."""
    return 2 * math.prod(feature_shape)


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

    def __init__(self, output: Path, plan: dict, feature_shape):
        """Creates the folder, or resumes what a killed process left.

        Args:
          output: the future features file.
          feature_shape: (K, K, D).
          plan: a table that JSON keeps as it is, with "clips" a list whose items begin with the clip's path.

        Raises:
          InputError: if the folder has another plan, is in use or cannot be written.
        """
        refuse_other_plan(output, plan)
        self._output = output
        self._folder = partial_folder(output)
        self._row_bytes = row_bytes(feature_shape)
        with contextlib.ExitStack() as files:
            try:
                files.enter_context(one_at_a_time(self._folder / "lock", "extraction"))
                if not (self._folder / "plan.json").exists():
                    beside = self._folder / "plan.json.unfinished"
                    beside.write_text(json.dumps(plan), encoding="utf-8")
                    os.replace(beside, self._folder / "plan.json")
                self._rows = files.enter_context(open(self._folder / "rows", "a+b", buffering=0))
                self._journal = files.enter_context(open(self._folder / "journal.jsonl", "a+b", buffering=0))
            except OSError as error:
                raise InputError(f"{self._folder}: cannot be written ({error.strerror})") from None
            self._files = files.pop_all()
        self.records = self._recover([clip[0] for clip in plan["clips"]])
        self.num_rows = sum(record.num_frames for record in self.records)
        self._rows.truncate(DATA_OFFSET + self.num_rows * self._row_bytes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not (self.num_rows or self.records):  # Nothing is lost, and the next extraction may have another plan.
            self.discard()
        self._files.close()

    def add_rows(self, rows: np.ndarray):
        """Appends `<float16>[n, K, K, D]`."""
        with self._disk_errors():
            unwritten = memoryview(np.ascontiguousarray(rows, "<f2")).cast("B")
            while unwritten:  # an unbuffered file may take less than it is given
                unwritten = unwritten[self._rows.write(unwritten) :]
        self.num_rows += len(rows)

    def record(self, records: list[ClipRecord]):
        """Records clips as finished; all their rows have been added."""
        with self._disk_errors():
            os.fsync(self._rows.fileno())
            self._journal.write(b"".join(json.dumps(record.as_json()).encode() + b"\n" for record in records))
            os.fsync(self._journal.fileno())
        self.records += records

    def finish(self, contents: FeaturesFile):
        """Makes the rows a features file, moves it to its place and removes the folder.

        Args:
          contents: everything about the file; of `features` only the shape counts.
        """
        layout = self._folder / "layout.h5"
        rows_end = DATA_OFFSET + self.num_rows * self._row_bytes
        with self._disk_errors():
            if write_layout(layout, contents) != DATA_OFFSET:
                raise RuntimeError(f"this HDF5 does not put the rows at byte {DATA_OFFSET}")
            with open(layout, "rb") as source, open(self._folder / "rows", "r+b") as target:
                target.write(source.read(DATA_OFFSET))
                source.seek(rows_end)
                target.seek(rows_end)
                shutil.copyfileobj(source, target)
                target.truncate()
                target.flush()
                os.fsync(target.fileno())
            os.replace(self._folder / "rows", self._output)
        self.discard()

    def discard(self):
        """Removes the folder."""
        self._rows.close()  # A network file system would keep what is open.
        self._journal.close()
        shutil.rmtree(self._folder)

    def _recover(self, paths: list[str]) -> list[ClipRecord]:
        """Reads the journal as far as it is valid and its rows exist; truncates the rest."""
        self._journal.seek(0)
        records, sound, num_rows = [], 0, 0
        rows_there = (os.fstat(self._rows.fileno()).st_size - DATA_OFFSET) // self._row_bytes
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
