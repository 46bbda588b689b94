"""Small real video files of every container, and a network that stands in for GoogLeNet."""

import csv
from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.datasets.registry import list_clips
from data_prep.datasets.ucf11 import official_clips

_CODECS = {
    "avi": "mpeg4",
    "mpg": "mpeg1video",
    "mp4": "libx264",
    "mov": "mpeg4",
    "mkv": "libx264",
    "webm": "libvpx",
}


def brightening(index: int) -> np.ndarray:
    """Frame `index` of a clip that gets brighter by 4 from frame to frame, <uint8>[48, 64, 3]."""
    return np.full((48, 64, 3), 20 + 4 * index, np.uint8)


def drifting(index: int) -> np.ndarray:
    """Frame `index` of a noisy picture that drifts to the right; takes room in a file."""
    return np.roll(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8), index, axis=1)


def _given(value):
    """A fixture that is `value`: test modules cannot import from here."""
    return pytest.fixture(scope="session")(lambda: value)


def _write_video(path, num_frames=12, picture=brightening, *, fps=25, times=None, **container_options):
    """Writes `picture(0)`, `picture(1)`, … as the kind of video that the name's ending says."""
    codec = _CODECS[str(path).rpartition(".")[2]]
    if codec == "libx264" and codec not in av.codecs_available:
        codec = "mpeg4"
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _write_sound(path):
    """Writes a file with sound and no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for _ in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 44100
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _cut(path, share: float):
    """Cuts a file off."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


brightening_picture = _given(brightening)
drifting_picture = _given(drifting)
write_video = _given(_write_video)
write_sound = _given(_write_sound)
cut = _given(_cut)


class FakeNetwork:
    """Maps 0, 1, 2: the mean blue, green, red of each cell; map 3: the frame's place in the batch; the rest is 0."""

    feature_shape = (7, 7, 1024)
    input_size = (224, 224)
    is_random = True

    def __init__(self, calls_in_flight=1):
        self.recipe = {"network": "fake", "weights_sha256": "", "random": True, "input_size": [224, 224]}
        self.calls_in_flight = calls_in_flight
        self.num_calls = 0

    def __call__(self, frames):
        assert frames.shape[1:] == (224, 224, 3) and frames.dtype == np.uint8
        self.num_calls += 1
        features = np.zeros((len(frames), 7, 7, 1024), np.float16)
        features[..., :3] = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
        features[..., 3] = np.arange(len(frames))[:, None, None]
        return features


@pytest.fixture
def fake_network():
    return FakeNetwork()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory, write_video, drifting_picture):
    """Eight clips of 7, 1, 40, 3, 2, 33, 5 and 9 frames: in batches of 8, batches span clips and clips span batches."""
    folder = tmp_path_factory.mktemp("data")
    lines = ["path,label,group,split"]
    for index, length in enumerate((7, 1, 40, 3, 2, 33, 5, 9)):
        label = ("run", "jump")[index % 2]
        (folder / label).mkdir(exist_ok=True)
        name = f"{label}/{index}.{('avi', 'mp4', 'mpg')[index % 3]}"
        write_video(
            folder / name, length, lambda i, shift=10 * index: drifting_picture(i + shift), fps=25 if index else 50
        )
        lines.append(f"{name},{label},group{index},{'train' if index < 6 else 'test'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def clips(data_dir):
    return list_clips("folder", data_dir)


@pytest.fixture
def bad_clips(tmp_path, write_video, write_sound, cut, drifting_picture):
    """Twelve clips, of which six give nothing and one gives a part."""
    folder = tmp_path / "bad" / "run"
    folder.mkdir(parents=True)
    (folder / "empty.mp4").touch()
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "text.mp4").write_text("not a film\n" * 50)
    data = write_video(folder / "zero.mkv", 30).read_bytes()
    (folder / "zero.mkv").write_bytes(data[: data.find(b"\x1f\x43\xb6\x75") + 20])
    write_sound(folder / "sound.mp4")
    cut(write_video(folder / "short.avi", 60, drifting_picture), 0.7)
    for name, length in (
        ("one.mp4", 1),
        ("a#b(c)!&.mp4", 3),
        ("two words.mkv", 3),
        ("schön.webm", 3),
        ('quo"te,.mp4', 2),
    ):
        write_video(folder / name, length)
    (folder / "line\nbreak.mp4").write_bytes(b"")
    return list_clips("folder", tmp_path / "bad")


def _tiny_clip(path, seed: int, num_frames: int = 2):
    """Writes a clip of a few small frames that no clip of another seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    return _write_video(path, num_frames, lambda index: picture)


def _ucf11(folder, layout: str = "UCF11_updated_mpg"):
    """Clip 1 of groups 1, 2, 3 and 8 of each class, in either layout, and the two that are known to be bad."""
    extension = "mpg" if layout == "UCF11_updated_mpg" else "avi"
    names = [name for name in official_clips() if name[-5:] in ("01_01", "02_01", "03_01", "08_01")]
    for seed, name in enumerate([*names, "v_shooting_25_06"]):
        label, _ = official_clips()[name]
        _tiny_clip(folder / layout / label / name[:-3] / f"{name}.{extension}", seed)
    broken = folder / layout / "basketball/v_shooting_24" / f"v_shooting_24_01.{extension}"
    broken.parent.mkdir()
    broken.write_bytes(b"\0" * 2000)
    for label in ("basketball", "biking"):
        (folder / layout / label / "Annotation").mkdir()
        (folder / layout / label / "Annotation" / "v_x_01_01.xgtf").write_text("<viper/>")
    return folder


def _hmdb51(folder, splits):
    """The real lists, and of every class the two first training clips and the first test clip of split 1."""
    lists = folder / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    seed, order = 0, "&#@;[(!"  # clips with such names first
    for path in sorted(splits.glob("*_test_split?.txt")):
        (lists / path.name).write_bytes(path.read_bytes())
        label, _, number = path.stem.rpartition("_test_split")
        if number != "1":
            continue
        rows = [line.split() for line in path.read_text().splitlines()]
        rows.sort(key=lambda row: min((order.index(c) for c in row[0] if c in order), default=9))
        chosen = [name for name, side in rows if side == "1"][:2] + [name for name, side in rows if side == "2"][:1]
        for name in chosen:
            _tiny_clip(folder / "hmdb51_org" / label / name, seed)
            seed += 1
    return folder


def _hollywood2(folder, splits):
    """Lists made of the real labels, and four training and two test clips of each class."""
    (folder / "Hollywood2" / "ClipSets").mkdir(parents=True)
    with open(splits / "hollywood2_actions_labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = set()
    for label in list(rows[0])[2:]:
        for side, count in (("train", 4), ("test", 2)):
            of_side = [row for row in rows if row["split"] == side]
            lines = [f"{row['clip']}  {1 if row[label] == '1' else -1}\n" for row in of_side]
            (folder / "Hollywood2" / "ClipSets" / f"{label}_{side}.txt").write_text("".join(lines))
            (folder / "Hollywood2" / "ClipSets" / f"{label}_autotrain.txt").write_text("actioncliautotrain00001  1\n")
            chosen |= set([row["clip"] for row in of_side if row[label] == "1"][:count])
    for seed, name in enumerate(sorted(chosen)):
        _tiny_clip(folder / "Hollywood2" / "AVIClips" / f"{name}.avi", seed)
    return folder


def _ucf101(folder, splits):
    """The real lists, and clip 1 of groups 1, 8 and 15 of every class."""
    (folder / "ucfTrainTestlist").mkdir(parents=True)
    for path in splits.glob("*.txt"):
        (folder / "ucfTrainTestlist" / path.name).write_bytes(path.read_bytes())
    listed = [line for number in "123" for line in (splits / f"testlist0{number}.txt").read_text().split()]
    chosen = [path for path in listed if path[-11:] in ("g01_c01.avi", "g08_c01.avi", "g15_c01.avi")]
    for seed, path in enumerate(chosen):
        _tiny_clip(folder / "UCF-101" / path, seed)
    return folder


tiny_clip = _given(_tiny_clip)
make_ucf11 = _given(_ucf11)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory, shared):
    """`miniature("hmdb51")` is a small copy of that data set as it is distributed; not to be changed."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("miniature") / name
            if name == "ucf11":
                made[name] = _ucf11(folder)
            else:
                makers = {"hmdb51": _hmdb51, "hollywood2": _hollywood2, "ucf101": _ucf101}
                made[name] = makers[name](folder, shared(f"data/splits/{name}"))
        return made[name]

    return make
