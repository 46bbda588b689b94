"""Checks of features: statistics of a features file, and pictures whose features are known.

A wrong order of colours, a forgotten mean or another scale gives features that look like features, and accuracies some
points too low. Statistics of real video show a wrong scale, dead channels and numbers that are not finite. They do not
show RGB instead of BGR, because content differs more than that. So before an extraction the network is also given three
drawn pictures, for which the statistics of the public weights are known to three digits.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from etils import epath

from data_prep.features.contents import FeaturesFile
from data_prep.features.record_files import on_bucket, write_text

_CLIPS, _FRAMES = 256, 8  # at most so many clips, and frames of each, are read, both evenly spread


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics of some frames.

    Attributes:
      num_frames: how many.
      mean: of all their numbers.
      zeros: the share that is 0.
      not_finite: the share that is not finite.
      dead_maps: how many channels are 0 in every cell of every frame.
      num_maps: D.
      cell_means: of each cell, K rows of K.
    """

    num_frames: int
    mean: float
    zeros: float
    not_finite: float
    dead_maps: int
    num_maps: int
    cell_means: list[list[float]]

    def __str__(self):
        cells = np.array(self.cell_means)
        return (
            f"mean {self.mean:.3f}, {100 * self.zeros:.1f} % zeros, {self.dead_maps} of {self.num_maps} channels dead, "
            f"cells' means {cells.min():.2f} to {cells.max():.2f}"
        )


@dataclass(frozen=True)
class Expected:
    """The range on real video: least and most."""

    mean: tuple[float, float]
    zeros: tuple[float, float]
    dead_maps: tuple[int, int]


# By the recipe's `network`. Measured on photographs, movies and surveillance video: means 0.54 to 0.86, 80 to 85 %
# zeros, 0 to 56 dead channels in 16 frames or more. Pixels between 0 and 1 or between -1 and 1: at most 75 % zeros, a
# mean below 0.48, and 200 dead channels or more.
EXPECTED = {"bvlc_googlenet": Expected(mean=(0.5, 0.95), zeros=(0.77, 0.88), dead_maps=(0, 150))}
_ENOUGH = 16  # frames, the least for dead channels to mean something: one photograph leaves hundreds unused

# By the recipe's `network`, of the weights in circulation: mean and part of zeros of each of `drawn_pictures`.
KNOWN = {
    "bvlc_googlenet": ((0.6145, 0.8004), (0.5619, 0.8293), (0.5914, 0.7772)),
    "efficientnet_lite0": ((0.1901, 0.9028), (0.1617, 0.9001), (0.2078, 0.8898)),
}
_TOLERANCE = 0.003  # the mildest mistake tried, one mean of 128 for all colours, changes a number by 0.007 or more


def measure(rows: np.ndarray) -> FeatureStatistics:
    """Returns the statistics of `rows`, `<float16>[n, K, K, D]`."""
    return _measure([rows])


def _measure(parts: Iterable[np.ndarray]) -> FeatureStatistics:
    total, alive = 0.0, False
    count = zeros = not_finite = 0
    for rows in parts:
        for first in range(0, len(rows), 64):  # as float32 they take twice the memory
            part = rows[first : first + 64].astype(np.float32)
            total = total + part.sum(axis=0, dtype=np.float64)
            zeros += np.count_nonzero(part == 0)
            not_finite += np.count_nonzero(~np.isfinite(part))
            alive = alive | np.any(part != 0, axis=(0, 1, 2))
            count += len(part)
    return FeatureStatistics(
        num_frames=count,
        mean=float(total.mean() / count),
        zeros=zeros / (count * total.size),
        not_finite=not_finite / (count * total.size),
        dead_maps=int(np.count_nonzero(~alive)),
        num_maps=len(alive),
        cell_means=(total.mean(axis=-1) / count).tolist(),
    )


def sample(contents: FeaturesFile) -> FeatureStatistics:
    """Returns the statistics of some frames of a features file: at most 8 of each of at most 256 clips."""
    return _measure(_sampled(contents))


def _sampled(contents: FeaturesFile) -> Iterator[np.ndarray]:
    count = len(contents.names)
    for clip in np.unique(np.linspace(0, count - 1, min(count, _CLIPS)).round().astype(int)):
        num_frames = int(contents.num_frames[clip])
        frames = np.unique(np.linspace(0, num_frames - 1, min(num_frames, _FRAMES)).round().astype(int))
        yield contents.features[int(contents.first_row[clip]) + frames]


def root_mean_square(contents: FeaturesFile, videos) -> float:
    """Returns √(mean of the squares) of all features of some videos, the σ of a level.

    Args:
      contents: a features file.
      videos: indices of videos.
    """
    total = count = 0
    for video in videos:
        first = int(contents.first_row[video])
        rows = contents.features[first : first + int(contents.num_frames[video])]
        for begin in range(0, len(rows), 64):  # as float32 they take twice the memory
            part = rows[begin : begin + 64].astype(np.float32)
            total += float(np.sum(np.square(part, out=part), dtype=np.float64))
        count += rows.size
    return float(np.sqrt(total / count))


def deviations(found: FeatureStatistics, recipe: dict) -> list[str]:
    """Returns a phrase for every statistic outside the range of the recipe's network on real video."""
    faults = [f"{100 * found.not_finite:.2g} % are not finite"] if found.not_finite else []
    expected = EXPECTED.get(recipe.get("network"))
    if expected is not None:
        for name in ("mean", "zeros", "dead_maps"):
            value, (least, most) = getattr(found, name), getattr(expected, name)
            if not least <= value <= most and (name != "dead_maps" or found.num_frames >= _ENOUGH):
                faults.append(f"{name.replace('_', ' ')} {value:.3g} instead of {least:g} to {most:g}")
    return faults


def report(contents: FeaturesFile, path) -> FeatureStatistics:
    """Prints the statistics of a features file and whether they are as expected, and writes them beside it.

    Args:
      contents: what `open_features(path)` returned.
      path: of the features file or of a data set's folder. It writes `features.statistics.json` beside the file, or
        `statistics.json` into the folder.
    """
    found = sample(contents)
    faults = deviations(found, contents.recipe)
    print(f"features of {found.num_frames} frames: {found}")
    if faults:
        print(
            f"NOTE: unlike real video through {contents.recipe['network']}: {'; '.join(faults)}. Synthetic clips may "
            "be so; otherwise suspect the order of colours, the mean or the scale of what the network was given"
        )
    elif contents.recipe.get("network") in EXPECTED:
        print(f"that is as expected of {contents.recipe['network']}")
    levels = {name: sample(contents.at_level(name)) for name in contents.levels}
    for name, of_level in levels.items():
        print(f"features of {name}: {of_level}")
    beside = epath.Path(path)
    beside = (
        beside / "statistics.json" if on_bucket(path) or beside.is_dir() else beside.with_suffix(".statistics.json")
    )
    more = {"levels": {name: asdict(of_level) for name, of_level in levels.items()}} if levels else {}
    write_text(beside, json.dumps({**asdict(found), "unexpected": faults, **more}, indent=1) + "\n")
    return found


def network_fault(network, frame_batch: int = 32) -> str:
    """Gives the network pictures whose features are known.

    Args:
      network: the network.
      frame_batch: frames per call, as in the extraction, so that nothing is compiled twice.

    Returns:
      One line if the features are not as known, else "".
    """
    name = network.recipe["network"]
    pictures = drawn_pictures()
    features = []
    for first in range(0, len(pictures) if name in KNOWN else 0, frame_batch):
        batch = np.zeros((frame_batch, *pictures.shape[1:]), np.uint8)
        part = pictures[first : first + frame_batch]
        batch[: len(part)] = part
        features += list(network(batch)[: len(part)])
    for number, (cube, expected) in enumerate(zip(features, KNOWN.get(name, ()), strict=True), 1):
        found = measure(cube[None])
        if not np.allclose((found.mean, found.zeros), expected, rtol=0, atol=_TOLERANCE):
            return (
                f"drawn picture {number} has mean {found.mean:.4f} and {100 * found.zeros:.2f} % zeros through {name} "
                f"instead of {expected[0]:.4f} and {100 * expected[1]:.2f} %: unless you trained its weights anew, "
                "suspect the order of colours (frames must be BGR), the mean or the scale"
            )
    return ""


def drawn_pictures() -> np.ndarray:
    """Returns a tree under a blue sky, a person with arms spread and a rainbow, `<uint8>[3, 224, 224, 3]`, BGR."""
    row, column = np.mgrid[0:224, 0:224] / 223

    def blend(part, low, high):
        return np.array(low) + part[..., None] * (np.array(high) - np.array(low))

    sky, grass = (
        blend(row / 0.55, (220, 120, 40), (250, 220, 180)),
        blend((row - 0.55) / 0.45, (40, 150, 60), (20, 80, 30)),
    )
    tree = np.where((row < 0.55)[..., None], sky, grass)
    tree[(row - 0.2) ** 2 + (column - 0.75) ** 2 < 0.01] = (30, 60, 240)  # the sun
    tree[(row - 0.5) ** 2 + (column - 0.3) ** 2 < 0.0256] = (20, 90, 40)
    tree[(row > 0.6) & (row < 0.8) & (np.abs(column - 0.3) < 0.03)] = (40, 70, 110)

    person, skin = blend(column, (90, 110, 140), (150, 170, 190)), (140, 170, 225)
    person[(row - 0.25) ** 2 + (column - 0.5) ** 2 < 0.0144] = skin
    person[(row > 0.36) & (row < 0.7) & (np.abs(column - 0.5) < 0.14)] = (160, 40, 30)  # a blue shirt
    person[(row > 0.7) & (np.abs(np.abs(column - 0.5) - 0.07) < 0.05)] = (60, 50, 50)
    person[(np.abs(row - 0.45) < 0.04) & (np.abs(column - 0.5) < 0.36)] = skin

    waves = ((1, 0.2), (0.6, 1), (0.3, 0.5))
    rainbow = [127 + 120 * np.sin(40 * a * row * column + 25 * b * column + 9 * a * row) for a, b in waves]
    return np.clip(np.stack([tree, person, np.stack(rainbow, axis=-1)]), 0, 255).round().astype(np.uint8)
