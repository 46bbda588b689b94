"""Faults of clips, as `data_prep.verify_videos` reports them in a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from attention_ar.errors import InputError, printable
from data_prep.common.files import write_csv
from data_prep.common.folders import walk
from data_prep.datasets.registry import DATASETS
from data_prep.video.clip_files import TAKEN, find_clips
from data_prep.video.scan import ClipScan, scan_clips

COLUMNS = ("path", "verdict", "reason", "frames", "fps", "width", "height", "sha256")


@dataclass(frozen=True)
class Verdict:
    """One clip and what is wrong with it.

    Attributes:
      scan: what decoding showed.
      faults: what is wrong, by its kind: missing, unreadable, truncated, short, zero-fps or duplicate.
    """

    scan: ClipScan
    faults: Mapping[str, str]

    @property
    def row(self) -> tuple:
        """The fields of `COLUMNS`."""
        scan = self.scan
        found = (scan.num_frames, f"{scan.fps:g}", scan.width, scan.height, scan.content)
        return (scan.path, self.kind, "; ".join(filter(None, (*self.faults.values(), scan.note))), *found)

    @property
    def kind(self) -> str:
        """The kinds of faults, for example "truncated|short", or "ok"."""
        return "|".join(self.faults) or "ok"


def videos_below(folder) -> list[str]:
    """Returns the clips below a folder, video files and folders of pictures, relative to it.

    Raises:
      InputError: there is no such folder, or no video file in it.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder")
    clips, _ = find_clips(walk(folder))
    if not clips:
        raise InputError(f"{folder}: no video files in it ({TAKEN})")
    return [path.as_posix() for path in clips]


def verify(folder, paths: Sequence[str], *, min_frames: int, missing: Sequence[str] = ()) -> list[Verdict]:
    """Decodes every clip and reports its faults.

    Args:
      folder: that the paths are relative to.
      paths: of the clips.
      min_frames: a clip with fewer is short.
      missing: clips that should be there as well.

    Returns:
      One verdict per clip, in the order of `paths`, and then the missing ones.
    """
    scans = scan_clips(folder, paths)
    first_of: dict[str, str] = {}
    verdicts = []
    for scan in scans:
        same = first_of.setdefault(scan.content, scan.path) if scan.content else scan.path
        verdicts.append(Verdict(scan, _faults(scan, min_frames, same)))
    return verdicts + [Verdict(ClipScan(path), {"missing": "listed, and not on disk"}) for path in missing]


def _faults(scan: ClipScan, min_frames: int, same: str) -> dict[str, str]:
    faults = {}
    if scan.unreadable:
        faults["unreadable"] = scan.unreadable
    else:
        if scan.cut_short:
            faults["truncated"] = scan.cut_short
        if scan.num_frames < min_frames:
            faults["short"] = f"{scan.num_frames} frames, fewer than {min_frames}"
        if scan.fps == 0:
            faults["zero-fps"] = "the file gives no possible frame rate"
    known = _known_bad().get(PurePosixPath(scan.path).stem)
    if known and faults:
        last = list(faults)[-1]
        faults[last] += f" (known: {known})"
    if same != scan.path:
        faults["duplicate"] = f"has the frames of {same}"
    return faults


def _known_bad() -> dict[str, str]:
    return {name: how for dataset in DATASETS.values() for name, how in dataset.known_bad.items()}


def write_verdicts(path, verdicts: Sequence[Verdict]):
    """Writes all verdicts, those of whole clips too, as CSV with `COLUMNS`."""
    write_csv(path, COLUMNS, [verdict.row for verdict in verdicts])


def format_faults(verdicts: Sequence[Verdict]) -> str:
    """Returns the clips at fault, and those with a note, as a table of verdict, path and reason; "" if there are none.

    A clip whose frame rate varies has a note and is no fault: `ok`.
    """
    told = [verdict for verdict in verdicts if verdict.faults or verdict.scan.note]
    rows = [(verdict.kind, printable(verdict.scan.path), verdict.row[2]) for verdict in told]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{kind:{widths[0]}}  {path:{widths[1]}}  {reason}" for kind, path, reason in rows)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Returns how many clips are sound, and how many have each fault."""
    kinds = [kind for verdict in verdicts for kind in verdict.faults]
    sound = sum(not verdict.faults for verdict in verdicts)
    counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return f"{len(verdicts)} clips: " + ", ".join([f"{sound} sound", *counts])
