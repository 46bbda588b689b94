"""A small folder data set of drawn clips, for trying the whole way from video files to attention without a download.

A jointed figure does one of four actions in front of a cluttered scene in which other things move as well. Posture and
motion tell the actions apart; scene, clothes, size, place and the other moving things do not. All clips of a group
share the scene and the figure's looks, and no group is in both train and test, so only the action itself can be learnt.
"""

import colorsys
import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from attention_ar.errors import InputError
from data_prep.boxes import COLUMNS

WIDTH, HEIGHT, FPS = 320, 240, 25
MARGIN = 12  # pixels of scene beyond the frame on every side, for the swaying camera
SKY = (0.5, 0.66)  # range of hues
SUPERSAMPLING = 2  # ImageDraw has no antialiasing: everything is drawn this much larger and averaged down

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Pose:
    """One posture. Angles in degrees: 0 hangs straight down, 90 points ahead (or outwards, seen from the front)."""

    seen_from_front: bool
    lean: float  # of the trunk, from upright towards ahead
    arms: tuple[tuple[float, float], tuple[float, float]]  # (upper arm, forearm), far side first
    legs: tuple[tuple[float, float], tuple[float, float]]  # (thigh, shin)
    lift: float = 0.0  # of the feet above the ground, in body heights


def walk(phase: float) -> Pose:
    """Strides; the only action that moves along."""

    def leg(phase):
        thigh = 5 + 30 * np.sin(phase)
        return thigh, thigh - 22 + 22 * np.sin(phase - 0.5)

    def arm(phase):
        return 32 * np.sin(phase), 32 * np.sin(phase) + 28

    return Pose(False, 4.0, (arm(phase), arm(phase + np.pi)), (leg(phase + np.pi), leg(phase)))


def bend(phase: float) -> Pose:
    """Bows down until the hands reach the feet, and comes up again."""
    depth = 0.62 - 0.38 * np.cos(phase)
    lean = 118 * depth
    arm = (20 + 10 * depth, 30 * (1 - depth) + 8)
    return Pose(False, lean, (arm, (arm[0] + 6, arm[1])), ((-8 * depth, -4 * depth), (-3 * depth, -4 * depth)))


def jumping_jack(phase: float) -> Pose:
    """Jumps with arms and legs apart and together."""
    spread = 0.6 - 0.4 * np.cos(phase)
    arm = (15 + 125 * spread, 15 + 140 * spread)
    leg = (4 + 34 * spread, 2 + 32 * spread)
    return Pose(True, 0.0, (arm, arm), (leg, leg), 0.05 * abs(np.sin(phase)))


def wave(phase: float) -> Pose:
    """Stands still, both arms up, and waves the forearms to and fro."""
    swing = 38 * np.sin(phase)
    return Pose(True, 0.0, ((140, 178 - swing), (140, 178 + swing)), ((3, 1), (3, 1)))


ACTIONS: dict[str, Callable[[float], Pose]] = {
    "bend": bend,
    "jumping_jack": jumping_jack,
    "walk": walk,
    "wave": wave,
}


class _Pen:
    """Draws in frame coordinates on a supersampled image and remembers the box around what it drew."""

    def __init__(self, image: Image.Image, x: float = 0.0, y: float = 0.0):
        self.draw, self.x, self.y = ImageDraw.Draw(image), x, y
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)

    def _note(self, points, radius):
        self.low = np.minimum(self.low, points.min(0) - radius)
        self.high = np.maximum(self.high, points.max(0) + radius)
        return [tuple(point) for point in points * SUPERSAMPLING]

    def limb(self, start, end, width: float, color: Color):
        """A capsule from `start` to `end` with a darker rim."""
        points = np.array([start, end], float) + (self.x, self.y)
        a, b = self._note(points, width / 2)
        for radius, paint in ((width / 2, shade(color, 0.55)), (max(width / 2 - 0.8, 0.3), color)):
            r = radius * SUPERSAMPLING
            self.draw.line([a, b], paint, round(2 * r))
            for x, y in (a, b):
                self.draw.ellipse((x - r, y - r, x + r, y + r), paint)

    def polygon(self, points, color: Color):
        self.draw.polygon(
            self._note(np.array(points, float) + (self.x, self.y), 0), color, shade(color, 0.55), SUPERSAMPLING
        )

    def ellipse(self, center, radii, color: Color):
        center, radii = np.array(center, float) + (self.x, self.y), np.array(radii, float)
        low, high = self._note(np.stack([center - radii, center + radii]), 0)
        self.draw.ellipse((*low, *high), color, shade(color, 0.55), SUPERSAMPLING)


def shade(color: Color, factor: float) -> Color:
    """`color` made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, channel * factor)) for channel in color)


def _color(rng, saturation=(0.35, 0.9), value=(0.35, 0.95), hue=(0.0, 1.0)) -> Color:
    channels = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(int(255 * channel) for channel in channels)


@dataclass(frozen=True)
class Look:
    """What the clips of one group share."""

    scene: Image.Image
    shirt: Color
    trousers: Color
    skin: Color
    hair: Color
    shoes: Color
    height: float  # of the figure standing upright, in pixels
    girth: float  # width of its limbs against the usual
    ground: float  # y of its feet


def _figure(pen: _Pen, pose: Pose, look: Look, facing: int):
    """Draws the figure, the middle of its feet at the pen's origin."""
    size, side = look.height, facing if not pose.seen_from_front else 1

    def step(point, angle, length, sign=1):
        radians = np.deg2rad(angle)
        return point + size * length * np.array([side * sign * np.sin(radians), np.cos(radians)])

    def chain(joint, angles, lengths, sign):
        middle = step(joint, angles[0], lengths[0], sign)
        return joint, middle, step(middle, angles[1], lengths[1], sign)

    signs = (-1, 1) if pose.seen_from_front else (1, 1)
    hip_width, shoulder_width = (0.055, 0.105) if pose.seen_from_front else (0.0, 0.0)
    hip = np.zeros(2)
    neck = step(hip, 180 - pose.lean, 0.30)
    legs = [
        chain(hip + (sign * hip_width * size, 0), angles, (0.235, 0.225), sign)
        for angles, sign in zip(pose.legs, signs, strict=True)
    ]
    arms = [
        chain(neck + (sign * shoulder_width * size, 0.03 * size), angles, (0.165, 0.16), sign)
        for angles, sign in zip(pose.arms, signs, strict=True)
    ]
    ground = max(foot[1] for *_, foot in legs) + 0.025 * size
    pen.y -= ground + pose.lift * size

    thick = size * look.girth

    def draw_leg(leg, dim):
        knee, foot = leg[1], leg[2]
        toe = foot + (np.array([side * 0.055, 0.0]) if not pose.seen_from_front else np.zeros(2)) * size
        pen.limb(foot, toe, 0.055 * thick, shade(look.shoes, dim))
        pen.limb(knee, foot, 0.072 * thick, shade(look.trousers, dim))
        pen.limb(leg[0], knee, 0.092 * thick, shade(look.trousers, dim))

    def draw_arm(arm, dim):
        pen.limb(arm[1], arm[2], 0.048 * thick, shade(look.skin, dim))
        pen.ellipse(arm[2], (0.031 * thick, 0.031 * thick), shade(look.skin, dim))
        pen.limb(arm[0], arm[1], 0.064 * thick, shade(look.shirt, dim))

    far = 1.0 if pose.seen_from_front else 0.72
    if not pose.seen_from_front:
        draw_arm(arms[0], far)
    draw_leg(legs[0], far)
    draw_leg(legs[1], 1.0)
    if pose.seen_from_front:
        for offset in (-0.045, 0.045, 0.0):
            pen.limb(neck + (offset * size, 0.045 * size), hip + (0.6 * offset * size, 0), 0.13 * thick, look.shirt)
    else:
        pen.limb(step(neck, -pose.lean, 0.05), hip, 0.15 * thick, look.shirt)
    head = step(neck, 180 - pose.lean, 0.085)
    pen.limb(neck, head, 0.05 * thick, look.skin)
    pen.ellipse(head, (0.058 * size, 0.07 * size), look.skin)
    crown = step(head, 180 - pose.lean, 0.022) - (0 if pose.seen_from_front else side * 0.012 * size, 0)
    pen.ellipse(crown, (0.06 * size, 0.052 * size), look.hair)
    if pose.seen_from_front:
        pen.ellipse(head + (0, 0.018 * size), (0.046 * size, 0.042 * size), look.skin)
        draw_arm(arms[0], far)
    draw_arm(arms[1], 1.0)


def _texture(rng, image: Image.Image, strength: float) -> Image.Image:
    """Adds grain at three scales, so that no surface is flat."""
    width, height = image.size
    grain = sum(
        np.asarray(
            Image.fromarray(rng.uniform(-1, 1, (height // cell + 1, width // cell + 1)).astype(np.float32)).resize(
                image.size, Image.Resampling.BICUBIC
            )
        )
        for cell in (3, 9, 40)
    )
    return Image.fromarray(np.clip(np.asarray(image) + strength * grain[..., None], 0, 255).astype(np.uint8))


def _park(rng, pen: _Pen, width: float, horizon: float, height: float):
    pen.polygon([(0, 0), (width, 0), (width, height), (0, height)], _color(rng, (0.1, 0.4), (0.8, 1.0), SKY))
    hills = _color(rng, (0.2, 0.5), (0.5, 0.8), (0.2, 0.6))
    for x in np.linspace(0, width, 4) + rng.uniform(-30, 30, 4):
        pen.ellipse((x, horizon + 20), (rng.uniform(50, 90), rng.uniform(40, 90)), shade(hills, rng.uniform(0.8, 1.2)))
    grass = _color(rng, (0.3, 0.6), (0.5, 0.8), (0.15, 0.38))
    pen.polygon([(0, horizon), (width, horizon), (width, height), (0, height)], grass)
    leaves = _color(rng, (0.4, 0.8), (0.4, 0.75), (0.04, 0.4))
    for x in rng.uniform(0, width, rng.integers(4, 7)):
        foot, top = horizon + rng.uniform(0, 12), horizon - rng.uniform(30, 80)
        pen.limb((x, foot), (x, top), rng.uniform(6, 11), (96, 66, 44))
        for _ in range(6):
            pen.ellipse((x, top) + rng.normal(0, 12, 2), rng.uniform(10, 22, 2), shade(leaves, rng.uniform(0.7, 1.3)))


def _street(rng, pen: _Pen, width: float, horizon: float, height: float):
    pen.polygon([(0, 0), (width, 0), (width, height), (0, height)], _color(rng, (0.05, 0.3), (0.8, 1.0), SKY))
    x = -rng.uniform(0, 40)
    while x < width:
        house, top, wall = rng.uniform(45, 90), rng.uniform(5, 90), _color(rng, (0.1, 0.5), (0.4, 0.9))
        pen.polygon([(x, top), (x + house, top), (x + house, horizon), (x, horizon)], wall)
        glass, gap = _color(rng, (0.1, 0.5), (0.2, 1.0)), rng.uniform(14, 22)
        for left in np.arange(x + 6, x + house - 10, gap):
            for upper in np.arange(top + 8, horizon - 16, gap * 1.2):
                pane = shade(glass, rng.uniform(0.7, 1.3))
                pen.polygon([(left, upper), (left + 9, upper), (left + 9, upper + 12), (left, upper + 12)], pane)
        x += house
    pen.polygon([(0, horizon), (width, horizon), (width, height), (0, height)], _color(rng, (0.0, 0.2), (0.4, 0.7)))
    curb = shade((150, 150, 150), rng.uniform(0.6, 1.3))
    pen.polygon([(0, horizon), (width, horizon), (width, horizon + 5), (0, horizon + 5)], curb)


def _room(rng, pen: _Pen, width: float, horizon: float, height: float):
    wall, floor = _color(rng, (0.1, 0.45), (0.6, 0.95)), _color(rng, (0.2, 0.6), (0.4, 0.7), (0.02, 0.15))
    pen.polygon([(0, 0), (width, 0), (width, horizon), (0, horizon)], wall)
    stripe = rng.uniform(8, 30)
    for x in np.arange(0, width, 2 * stripe):
        pen.polygon([(x, 0), (x + stripe, 0), (x + stripe, horizon), (x, horizon)], shade(wall, 0.88))
    pen.polygon([(0, horizon), (width, horizon), (width, height), (0, height)], floor)
    for x in np.linspace(-width, 2 * width, 24):
        pen.limb((width / 2 + (x - width / 2) * 0.6, horizon), (x, height), 1.2, shade(floor, 0.7))
    for _ in range(rng.integers(3, 6)):
        x, y, (w, h) = rng.uniform(0, width), rng.uniform(15, horizon - 60), rng.uniform(20, 55, 2)
        pen.polygon([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], _color(rng))
        pen.ellipse((x + w / 2, y + h / 2), (w / 4, h / 4), _color(rng))
    for _ in range(rng.integers(2, 4)):
        x, w, h = rng.uniform(0, width), rng.uniform(20, 50), rng.uniform(25, 80)
        wood = _color(rng, (0.3, 0.7), (0.3, 0.7))
        pen.polygon([(x, horizon - h), (x + w, horizon - h), (x + w, horizon + 6), (x, horizon + 6)], wood)
        for y in np.arange(horizon - h + 6, horizon, 14):
            pen.polygon([(x + 3, y), (x + w - 3, y), (x + w - 3, y + 9), (x + 3, y + 9)], shade(wood, 1.25))


SCENES = (_park, _street, _room)


def _look(rng, group: int) -> Look:
    width, height = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    scene = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    horizon = MARGIN + rng.uniform(140, 175)
    SCENES[group % len(SCENES)](rng, _Pen(scene), width, horizon, height)
    skins = ((244, 208, 177), (224, 172, 132), (176, 122, 84), (112, 74, 50))
    hairs = ((40, 30, 26), (92, 60, 34), (206, 168, 96), (150, 150, 150), (140, 58, 30))
    return Look(
        scene=_texture(rng, scene, rng.uniform(5, 10)),
        shirt=_color(rng, (0.5, 1.0), (0.6, 1.0)),
        trousers=_color(rng, (0.2, 0.8), (0.2, 0.6)),
        skin=skins[rng.integers(len(skins))],
        hair=hairs[rng.integers(len(hairs))],
        shoes=_color(rng, (0.0, 0.8), (0.1, 0.9)),
        height=rng.uniform(138, 162),
        girth=rng.uniform(0.9, 1.2),
        ground=rng.uniform(208, 230),
    )


def _distractor(rng) -> Callable[[_Pen, float], None]:
    """Returns a thing that moves through the scene, as a function that draws it at a time in seconds."""
    color, other = _color(rng), _color(rng)
    start, speed = rng.uniform(0, WIDTH), rng.choice([-1, 1]) * rng.uniform(25, 70)
    size, low, phase = rng.uniform(9, 15), rng.uniform(185, 225), rng.uniform(0, 2 * np.pi)

    def across(seconds):
        return (start + speed * seconds + 40) % (WIDTH + 80) - 40

    def ball(pen, seconds):
        hop = abs(np.sin(phase + 4.5 * seconds))
        center = np.array([across(seconds), low - size - 70 * hop])
        pen.ellipse(center, (size, size), color)
        turn = phase + seconds * speed / size
        pen.limb(center, center + 0.75 * size * np.array([np.cos(turn), np.sin(turn)]), size / 2, other)

    def cart(pen, seconds):
        x = across(seconds)
        pen.polygon([(x - 26, low - 30), (x + 26, low - 30), (x + 21, low - 6), (x - 21, low - 6)], color)
        pen.polygon([(x - 15, low - 42), (x + 4, low - 42), (x + 4, low - 30), (x - 15, low - 30)], other)
        for wheel in (-14, 14):
            pen.ellipse((x + wheel, low - 5), (6, 6), (45, 45, 45))

    def balloon(pen, seconds):
        x, y = across(0.5 * seconds), 55 + 25 * np.sin(phase + 1.5 * seconds)
        pen.limb((x, y), (x + 5 * np.sin(3 * seconds), y + 45), 1.6, (90, 90, 90))
        pen.ellipse((x, y), (size, 1.25 * size), color)

    return (ball, cart, balloon)[rng.integers(3)]


def _clip(rng, action: str, look: Look, num_frames: int):
    """Yields the frames `<uint8>[240, 320, 3]` of one clip and the figure's box (x0, y0, x1, y1) in each, in pixels."""
    facing = rng.choice([-1, 1])
    rate, first_phase = 2 * np.pi * rng.uniform(0.7, 1.0), rng.uniform(0, 2 * np.pi)
    scale = rng.uniform(0.94, 1.06)
    look = Look(**{**look.__dict__, "height": look.height * scale})
    place = rng.uniform(0.32, 0.68) * WIDTH
    speed = facing * 0.55 * look.height if action == "walk" else 0.0
    place -= speed * num_frames / FPS / 2
    sway_rate, sway_phase = rng.uniform(1, 3, 2), rng.uniform(0, 2 * np.pi, 2)
    distractors = [_distractor(rng) for _ in range(rng.integers(1, 3))]
    for frame in range(num_frames):
        seconds = frame / FPS
        sway = 0.8 * MARGIN * np.sin(sway_phase + sway_rate * seconds)
        corner = np.round((MARGIN - sway) * SUPERSAMPLING).astype(int)
        canvas = look.scene.crop((*corner, *(corner + (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))))
        for draw in distractors:
            draw(_Pen(canvas, *sway), seconds)
        x = place + speed * seconds
        _Pen(canvas, *sway).ellipse((x, look.ground), (0.2 * look.height, 0.03 * look.height), (50, 50, 50))
        pen = _Pen(canvas, x + sway[0], look.ground + sway[1])
        _figure(pen, ACTIONS[action](first_phase + rate * seconds), look, facing)
        limits = (WIDTH, HEIGHT)
        box = (*np.clip(pen.low, 0, limits), *np.clip(pen.high, 0, limits))
        yield np.asarray(canvas.reduce(SUPERSAMPLING)), box


def _write_video(path: Path, frames):
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {"q:v": "3"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_synthetic_clips(
    data_dir, *, num_groups: int = 6, clips_per_group: int = 2, seed: int = 0, num_frames: int = 40
):
    """Draws the clips: one folder per action, `index.csv` and, with the figure's box in every frame, `boxes.csv`.

    Args:
      data_dir: the folder to write to. `index.csv` comes last, so that a folder that has one is whole.
      num_groups: how many looks there are; the last third of them is the test part.
      clips_per_group: of each action.
      seed: the same one gives the same pictures.
      num_frames: of each clip, at 25 frames per second.
    """
    if num_groups < 2 or clips_per_group < 1 or num_frames < 1:
        raise InputError(f"num_groups={num_groups}: must be 2 or more; clips_per_group and num_frames 1 or more")
    data_dir = Path(data_dir)
    num_test = max(1, num_groups // 3)
    index, boxes = [], []
    for group in range(num_groups):
        look = _look(np.random.default_rng((seed, group)), group)
        split = "test" if group >= num_groups - num_test else "train"
        for label, action in enumerate(ACTIONS):
            (data_dir / action).mkdir(parents=True, exist_ok=True)
            for clip in range(clips_per_group):
                rng = np.random.default_rng((seed, group, label, clip))
                name = f"{action}/{action}_{group + 1:02d}_{clip + 1:02d}.mp4"
                frames = []
                for number, (frame, box) in enumerate(_clip(rng, action, look, num_frames)):
                    frames.append(frame)
                    boxes.append((name, number, *(f"{edge:.1f}" for edge in box)))
                _write_video(data_dir / name, frames)
                index.append((name, action, f"group_{group + 1:02d}", split))
    _write_table(data_dir / "boxes.csv", COLUMNS, boxes)
    _write_table(data_dir / "index.csv", ("path", "label", "group", "split"), index)


def _write_table(path: Path, header, rows):
    beside = path.with_name(path.name + ".partial")
    with beside.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    os.replace(beside, path)
