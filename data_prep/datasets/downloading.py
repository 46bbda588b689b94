"""What `data_prep.download` does: every file of a data set from the first server that has it."""

from pathlib import Path

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import Dataset, Download
from data_prep.datasets.registry import is_complete
from data_prep.downloads.fetch import fetch


def download_dataset(dataset: Dataset, folder: Path) -> list[str]:
    """Downloads the missing files that a server hosts.

    Args:
      dataset: whose files.
      folder: where to; it is made.

    Returns:
      For each file that could not be downloaded, how a user gets it.
    """
    if is_complete(dataset, folder):
        print(f"{folder} holds every clip already")
        return []
    lacking = []
    for download in dataset.downloads:
        present = [source.name for source in download.sources if (folder / source.name).is_file()]
        if present:
            print(f"{folder / present[0]} is there already")
        elif reasons := _fetch_any(download, folder):
            for reason in reasons:
                print(reason)
            lacking.append(f"{download.what}: {download.by_hand}")
        elif not download.sources:
            lacking.append(f"{download.what}: {download.by_hand}")
    return lacking


def _fetch_any(download: Download, folder: Path) -> list[str]:
    """Returns nothing after a success (or without a source), and else what every source said."""
    reasons = []
    for source in download.sources:
        checked = source.sha256 or source.md5
        print(f"downloading {source.url}" + ("" if checked else " (no checksum is published)"), flush=True)
        try:
            fetch(folder / source.name, [source])
        except InputError as error:
            reasons.append(f"failed: {error}")
        else:
            print(f"{folder / source.name} is there")
            return []
    return reasons
