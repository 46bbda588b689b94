"""A small folder data set of synthetic clips, for trying everything from video files to attention without a download.

A jointed figure does one of four actions in front of a cluttered scene in which other things move as well. Posture and
motion tell the actions apart; scene, clothes, size, place and the other moving things do not. All clips of a group
share the scene and the figure's looks, and no group is in both train and test, so only the action itself can be learnt.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from attention_ar.errors import InputError
from attention_ar.whole_file import whole_file
from data_prep.common.files import write_csv
from data_prep.common.progress import Progress
from data_prep.datasets.boxes import COLUMNS
from data_prep.datasets.synthetic_scenes import (
    HEIGHT,
    MARGIN,
    SUPERSAMPLING,
    WIDTH,
    Color,
    Pen,
    draw_scene,
    random_color,
    random_distractor,
    shade,
)

FPS = 25


@dataclass(frozen=True)
class Pose:
    """One posture. Angles in degrees: 0 hangs straight down, 90 points ahead or, seen from the front, outwards."""

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


@dataclass(frozen=True)
class Look:
    """The look that the clips of one group share."""

    scene: Image.Image
    shirt: Color
    trousers: Color
    skin: Color
    hair: Color
    shoes: Color
    height: float  # of the figure standing upright, in pixels
    girth: float  # width of its limbs against the usual
    ground: float  # y of its feet


def _figure(pen: Pen, pose: Pose, look: Look, facing: int):
    """Draws the figure, its lower foot on the pen's origin (or above it by the pose's lift) and its hips over it."""
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


def _look(rng, group: int) -> Look:
    """Makes up the looks of a group; neighbouring groups have different kinds of scene."""
    skins = ((244, 208, 177), (224, 172, 132), (176, 122, 84), (112, 74, 50))
    hairs = ((40, 30, 26), (92, 60, 34), (206, 168, 96), (150, 150, 150), (140, 58, 30))
    return Look(
        scene=draw_scene(rng, kind=group),
        shirt=random_color(rng, (0.5, 1.0), (0.6, 1.0)),
        trousers=random_color(rng, (0.2, 0.8), (0.2, 0.6)),
        skin=skins[rng.integers(len(skins))],
        hair=hairs[rng.integers(len(hairs))],
        shoes=random_color(rng, (0.0, 0.8), (0.1, 0.9)),
        height=rng.uniform(138, 162),
        girth=rng.uniform(0.9, 1.2),
        ground=rng.uniform(208, 230),
    )


def _clip(rng, action: str, look: Look, num_frames: int):
    """Yields the frames `<uint8>[240, 320, 3]` of one clip and the figure's box (x0, y0, x1, y1) in each, in pixels."""
    facing = rng.choice([-1, 1])
    rate, first_phase = 2 * np.pi * rng.uniform(0.7, 1.0), rng.uniform(0, 2 * np.pi)
    look = replace(look, height=look.height * rng.uniform(0.94, 1.06))
    place = rng.uniform(0.32, 0.68) * WIDTH
    speed = facing * 0.55 * look.height if action == "walk" else 0.0
    place -= speed * num_frames / FPS / 2
    sway_rate, sway_phase = rng.uniform(1, 3, 2), rng.uniform(0, 2 * np.pi, 2)
    distractors = [random_distractor(rng) for _ in range(rng.integers(1, 3))]
    for frame in range(num_frames):
        seconds = frame / FPS
        sway = 0.8 * MARGIN * np.sin(sway_phase + sway_rate * seconds)
        corner = np.round((MARGIN - sway) * SUPERSAMPLING).astype(int)
        canvas = look.scene.crop((*corner, *(corner + (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))))
        for draw in distractors:
            draw(Pen(canvas, *sway), seconds)
        x, turned = _to_and_fro(place + speed * seconds)
        Pen(canvas, *sway).ellipse((x, look.ground), (0.2 * look.height, 0.03 * look.height), (50, 50, 50))
        pen = Pen(canvas, x + sway[0], look.ground + sway[1])
        _figure(pen, ACTIONS[action](first_phase + rate * seconds), look, facing * turned)
        limits = (WIDTH, HEIGHT)
        box = (*np.clip(pen.low, 0, limits), *np.clip(pen.high, 0, limits))
        yield np.asarray(canvas.reduce(SUPERSAMPLING)), box


def _to_and_fro(x: float) -> tuple[float, int]:
    """Where one is who turns round before the frame's edges instead of walking on to `x`; and -1 on the way back."""
    low, high = 0.1 * WIDTH, 0.9 * WIDTH
    gone = (x - low) % (2 * (high - low))
    return (low + gone, 1) if gone < high - low else (2 * high - low - gone, -1)


def _write_video(path: Path, frames):
    codec, options = "libx264" if "libx264" in av.codecs_available else "mpeg4", {"movflags": "faststart"}
    with whole_file(path) as beside, av.open(str(beside), "w", format="mp4", options=options) as container:
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
      num_groups: number of looks; the last third of them is the test part.
      clips_per_group: of each action.
      seed: the same one gives the same pictures.
      num_frames: of each clip, at 25 frames per second.
    """
    if num_groups < 2 or clips_per_group < 1 or num_frames < 1 or seed < 0:
        raise InputError(
            f"num_groups={num_groups} clips_per_group={clips_per_group} num_frames={num_frames} seed={seed}: "
            "must be at least 2, 1, 1 and 0"
        )
    data_dir = Path(data_dir)
    num_test = max(1, num_groups // 3)
    index, boxes = [], []
    with Progress(num_groups * len(ACTIONS) * clips_per_group, 0, "clip") as progress:
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
                    progress.advance(1)
    write_csv(data_dir / "boxes.csv", COLUMNS, boxes)
    write_csv(data_dir / "index.csv", ("path", "label", "group", "split"), index)
