"""The surroundings of the figure in the synthetic clips: cluttered scenes, and things that move through them."""

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 240
MARGIN = 12  # pixels of scene beyond the frame on every side, for the swaying camera
SUPERSAMPLING = 2  # ImageDraw has no antialiasing: everything is drawn this much larger and averaged down

_SKY = (0.5, 0.66)  # range of hues

Color = tuple[int, int, int]


class Pen:
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
        points = self._note(np.array(points, float) + (self.x, self.y), 0)
        self.draw.polygon(points, color, shade(color, 0.55), SUPERSAMPLING)

    def rectangle(self, x0, y0, x1, y1, color: Color):
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def ellipse(self, center, radii, color: Color):
        center, radii = np.array(center, float) + (self.x, self.y), np.array(radii, float)
        low, high = self._note(np.stack([center - radii, center + radii]), 0)
        self.draw.ellipse((*low, *high), color, shade(color, 0.55), SUPERSAMPLING)


def shade(color: Color, factor: float) -> Color:
    """`color` made darker (factor < 1) or lighter (factor > 1)."""
    return tuple(int(min(255, channel * factor)) for channel in color)


def random_color(rng, saturation=(0.35, 0.9), value=(0.35, 0.95), hue=(0.0, 1.0)) -> Color:
    """Returns a color whose hue, saturation and value are drawn uniformly from these ranges within 0..1."""
    channels = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(int(255 * channel) for channel in channels)


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


def _park(rng, pen: Pen, width: float, horizon: float, height: float):
    pen.rectangle(0, 0, width, height, random_color(rng, (0.1, 0.4), (0.8, 1.0), _SKY))
    hills = random_color(rng, (0.2, 0.5), (0.5, 0.8), (0.2, 0.6))
    for x in np.linspace(0, width, 4) + rng.uniform(-30, 30, 4):
        pen.ellipse((x, horizon + 20), (rng.uniform(50, 90), rng.uniform(40, 90)), shade(hills, rng.uniform(0.8, 1.2)))
    grass = random_color(rng, (0.3, 0.6), (0.5, 0.8), (0.15, 0.38))
    pen.rectangle(0, horizon, width, height, grass)
    leaves = random_color(rng, (0.4, 0.8), (0.4, 0.75), (0.04, 0.4))
    for x in rng.uniform(0, width, rng.integers(4, 7)):
        foot, top = horizon + rng.uniform(0, 12), horizon - rng.uniform(30, 80)
        pen.limb((x, foot), (x, top), rng.uniform(6, 11), (96, 66, 44))
        for _ in range(6):
            pen.ellipse((x, top) + rng.normal(0, 12, 2), rng.uniform(10, 22, 2), shade(leaves, rng.uniform(0.7, 1.3)))


def _street(rng, pen: Pen, width: float, horizon: float, height: float):
    pen.rectangle(0, 0, width, height, random_color(rng, (0.05, 0.3), (0.8, 1.0), _SKY))
    x = -rng.uniform(0, 40)
    while x < width:
        house, top, wall = rng.uniform(45, 90), rng.uniform(5, 90), random_color(rng, (0.1, 0.5), (0.4, 0.9))
        pen.rectangle(x, top, x + house, horizon, wall)
        glass, gap = random_color(rng, (0.1, 0.5), (0.2, 1.0)), rng.uniform(14, 22)
        for left in np.arange(x + 6, x + house - 10, gap):
            for upper in np.arange(top + 8, horizon - 16, gap * 1.2):
                pen.rectangle(left, upper, left + 9, upper + 12, shade(glass, rng.uniform(0.7, 1.3)))
        x += house
    pen.rectangle(0, horizon, width, height, random_color(rng, (0.0, 0.2), (0.4, 0.7)))
    pen.rectangle(0, horizon, width, horizon + 5, shade((150, 150, 150), rng.uniform(0.6, 1.3)))


def _room(rng, pen: Pen, width: float, horizon: float, height: float):
    wall, floor = random_color(rng, (0.1, 0.45), (0.6, 0.95)), random_color(rng, (0.2, 0.6), (0.4, 0.7), (0.02, 0.15))
    pen.rectangle(0, 0, width, horizon, wall)
    stripe = rng.uniform(8, 30)
    for x in np.arange(0, width, 2 * stripe):
        pen.rectangle(x, 0, x + stripe, horizon, shade(wall, 0.88))
    pen.rectangle(0, horizon, width, height, floor)
    for x in np.linspace(-width, 2 * width, 24):
        pen.limb((width / 2 + (x - width / 2) * 0.6, horizon), (x, height), 1.2, shade(floor, 0.7))
    for _ in range(rng.integers(3, 6)):
        x, y, (w, h) = rng.uniform(0, width), rng.uniform(15, horizon - 60), rng.uniform(20, 55, 2)
        pen.rectangle(x, y, x + w, y + h, random_color(rng))
        pen.ellipse((x + w / 2, y + h / 2), (w / 4, h / 4), random_color(rng))
    for _ in range(rng.integers(2, 4)):
        x, w, h = rng.uniform(0, width), rng.uniform(20, 50), rng.uniform(25, 80)
        wood = random_color(rng, (0.3, 0.7), (0.3, 0.7))
        pen.rectangle(x, horizon - h, x + w, horizon + 6, wood)
        for y in np.arange(horizon - h + 6, horizon, 14):
            pen.rectangle(x + 3, y, x + w - 3, y + 9, shade(wood, 1.25))


_SCENES = (_park, _street, _room)


def draw_scene(rng, kind: int) -> Image.Image:
    """Draws a scene of kind `kind` mod 3 (park, street, room), supersampled and with the margin around it."""
    width, height = WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN
    scene = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    horizon = MARGIN + rng.uniform(140, 175)
    _SCENES[kind % len(_SCENES)](rng, Pen(scene), width, horizon, height)
    return _texture(rng, scene, rng.uniform(5, 10))


def random_distractor(rng) -> Callable[[Pen, float], None]:
    """Returns a thing that moves through the scene, as a function that draws it at a time in seconds."""
    color, other = random_color(rng), random_color(rng)
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
        pen.rectangle(x - 15, low - 42, x + 4, low - 30, other)
        for wheel in (-14, 14):
            pen.ellipse((x + wheel, low - 5), (6, 6), (45, 45, 45))

    def balloon(pen, seconds):
        x, y = across(0.5 * seconds), 55 + 25 * np.sin(phase + 1.5 * seconds)
        pen.limb((x, y), (x + 5 * np.sin(3 * seconds), y + 45), 1.6, (90, 90, 90))
        pen.ellipse((x, y), (size, 1.25 * size), color)

    return (ball, cart, balloon)[rng.integers(3)]
