"""Which files below a folder are clips: video files, and folders of numbered pictures."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from data_prep.video.frames import EXTENSIONS
from data_prep.video.image_folder import PICTURES, is_picture

TAKEN = f"{', '.join(EXTENSIONS)}, or folders of numbered pictures ({', '.join(PICTURES)})"
_FEWEST_PICTURES = 2


def is_video(path: PurePosixPath) -> bool:
    """Returns whether a file's name is that of a video."""
    return path.suffix[1:].lower() in EXTENSIONS


def find_clips(paths: Iterable[PurePosixPath]) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Sorts files into clips and others.

    A folder with numbered pictures and no video is a clip: its frames lie in it, 000001.jpg and so on.

    Args:
      paths: what `walk` returned.

    Returns:
      Clips and other files, each sorted. For a folder of pictures it is the folder's path, "." for the walked
      folder itself.
    """
    beside = defaultdict(list)
    for path in paths:
        beside[path.parent].append(path)
    clips, others = [], []
    for folder, files in beside.items():
        videos = [path for path in files if is_video(path)]
        pictures = [] if videos else [path for path in files if is_picture(path.name)]
        if len(pictures) >= _FEWEST_PICTURES:
            clips.append(folder)
            others += set(files) - set(pictures)
        else:
            clips += videos
            others += set(files) - set(videos)
    return sorted(clips), sorted(others)
