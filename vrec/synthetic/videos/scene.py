"""Rendering of synthetic videos: backdrop, product, camera and frames."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from vrec.synthetic.videos.apparel import backpacks, dresses, sneakers, watches
from vrec.synthetic.videos.home_products import headphones, lamps, mugs, plants
from vrec.synthetic.videos.motion import ProductScene, SpriteLayer, composite_layer
from vrec.synthetic.videos.plan import SyntheticVideo
from vrec.synthetic.videos.products import COLOR_BY_NAME
from vrec.synthetic.videos.shapes import Rgb, darken, lighten, vertical_gradient

_PRODUCTS: dict[str, Callable[[ProductScene], list[SpriteLayer]]] = {
    "sneakers": sneakers,
    "mugs": mugs,
    "lamps": lamps,
    "dresses": dresses,
    "headphones": headphones,
    "plants": plants,
    "backpacks": backpacks,
    "watches": watches,
}
_BACKDROPS: dict[str, Rgb] = {
    "sneakers": (246, 224, 206),
    "mugs": (240, 232, 216),
    "lamps": (58, 58, 92),
    "dresses": (244, 222, 224),
    "headphones": (206, 228, 226),
    "plants": (228, 236, 218),
    "backpacks": (196, 220, 240),
    "watches": (70, 76, 88),
}


def render_frames(video: SyntheticVideo) -> Iterator[Image.Image]:
    """Yield the video's frames in order, RGB at `video.size`: `seconds` × `fps` of them, at least one.

    Near-duplicates are rendered at the size of their original and then scaled, as a repost would be.
    """
    count = max(1, round(video.seconds * video.fps))
    if video.damage == "black":
        for _ in range(count):
            yield Image.new("RGB", video.size)
        return
    rng = np.random.default_rng((video.seed, 1))
    back = _backdrop(video, rng)
    layers = _PRODUCTS[video.category](_product_scene(video, rng))
    mirrored, badge = bool(rng.random() < 0.5), _live_badge(video) if video.kind == "live" else None
    track = rng.uniform((0.76, 0.1, 0.1), (1.0, 0.9, 0.9), (2, 3))
    for number in range(count):
        frame = back.copy()
        for layer in layers:
            composite_layer(frame, layer, number / video.fps)
        if mirrored:
            frame = frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        frame = _camera(frame, track, number / count)
        if badge is not None:
            corner = min(frame.size) // 25
            frame.paste(badge, (corner, corner), badge)
        yield frame if video.size == video.drawn_size else frame.resize(video.size, Image.Resampling.LANCZOS)


def _camera(frame: Image.Image, track: npt.NDArray[np.float64], share: float) -> Image.Image:
    """Return what a moving camera sees of the frame; `track` is (2, 3): zoom, x, y at start and end."""
    zoom, x, y = track[0] + (track[1] - track[0]) * share
    wide, high = frame.width * zoom, frame.height * zoom
    left, top = (frame.width - wide) * x, (frame.height - high) * y
    return frame.resize(frame.size, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


def _product_scene(video: SyntheticVideo, rng: np.random.Generator) -> ProductScene:
    rgb = COLOR_BY_NAME[video.color].rgb
    red, green, blue = (int(np.clip(channel + rng.integers(-14, 15), 0, 255)) for channel in rgb)
    return ProductScene(
        rgb=(red, green, blue),
        side=round(min(video.drawn_size) * rng.uniform(0.56, 0.84)),
        x=float(rng.uniform(-0.13, 0.13)),
        y=float(rng.uniform(-0.04, 0.06)),
        tempo=float(rng.uniform(0.7, 1.25)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        rng=rng,
    )


def _backdrop(video: SyntheticVideo, rng: np.random.Generator) -> Image.Image:
    width, height = video.drawn_size
    red, green, blue = (int(np.clip(c + rng.integers(-10, 11), 0, 255)) for c in _BACKDROPS[video.category])
    base: Rgb = (red, green, blue)
    # Drawn at twice the size and halved, because Pillow's shapes have hard edges.
    back = vertical_gradient((width * 2, height * 2), lighten(base, 0.25), darken(base, 0.08))
    _PATTERNS[video.category](ImageDraw.Draw(back), width * 2, height * 2, base, rng)
    back = back.resize((width, height), Image.Resampling.BOX)
    light = Image.new("L", (width, height), 0)
    spot = (rng.uniform(-0.3, 0.4) * width, -0.4 * height)
    ImageDraw.Draw(light).ellipse((spot[0], spot[1], spot[0] + width, spot[1] + height * 0.9), fill=70)
    white = Image.new("RGB", (width, height), (255, 255, 255))
    back.paste(white, (0, 0), light.filter(ImageFilter.GaussianBlur(width / 7)))
    return back


def _live_badge(video: SyntheticVideo) -> Image.Image:
    unit = min(video.drawn_size) / 100
    badge = Image.new("RGBA", (round(28 * unit) * 3, round(12 * unit) * 3), (0, 0, 0, 0))
    draw = ImageDraw.Draw(badge)
    high = badge.height
    draw.rounded_rectangle((0, 0, badge.width - 1, high - 1), high / 2, fill=(222, 52, 66))
    draw.ellipse((high * 0.3, high * 0.34, high * 0.62, high * 0.66), fill=(255, 255, 255))
    draw.rounded_rectangle(
        (high * 0.8, high * 0.4, badge.width - high * 0.45, high * 0.6), high / 10, fill=(255, 255, 255)
    )
    return badge.resize((badge.width // 3, badge.height // 3), Image.Resampling.BOX)


Pattern = Callable[[ImageDraw.ImageDraw, int, int, Rgb, np.random.Generator], None]


def _stripes(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    gap = width // int(rng.integers(7, 11))
    for x in range(-height, width, gap):
        draw.polygon(
            [(x, height), (x + gap // 2, height), (x + gap // 2 + height, 0), (x + height, 0)],
            fill=lighten(base, 0.3),
        )
    draw.rectangle((0, int(height * 0.8), width, height), fill=darken(base, 0.12))


def _table(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    edge = int(height * rng.uniform(0.66, 0.72))
    wood = (186, 144, 104)
    draw.rectangle((0, edge, width, height), fill=wood)
    for _ in range(16):
        y = int(rng.integers(edge + 8, height))
        x = int(rng.integers(0, width))
        draw.line(
            (x - width // 4, y, x + width // 4, y), fill=darken(wood, float(rng.uniform(0.05, 0.16))), width=3
        )
    draw.rectangle((0, edge, width, edge + 6), fill=lighten(wood, 0.25))


def _night(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    left = int(width * rng.choice([0.04, 0.68]))
    draw.rectangle((left, height // 10, left + width * 28 // 100, height // 2), fill=darken(base, 0.45))
    for _ in range(9):
        x, y = left + int(rng.integers(8, width // 4)), height // 10 + int(rng.integers(8, height // 3))
        draw.ellipse((x, y, x + 5, y + 5), fill=(226, 226, 240))
    draw.rectangle((0, int(height * 0.82), width, height), fill=darken(base, 0.4))


def _arches(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    middle = int(width * rng.uniform(0.42, 0.58))
    for step, reach in enumerate((0.42, 0.34, 0.26)):
        span = int(width * reach)
        color = lighten(base, 0.22 + 0.2 * step)
        draw.pieslice(
            (middle - span, height // 8, middle + span, height // 8 + span * 2), 180, 360, fill=color
        )
        draw.rectangle((middle - span, height // 8 + span, middle + span, height), fill=color)


def _rings(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    x, y = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6)
    gap = width / int(rng.integers(10, 14))
    for step in range(9, 0, -1):
        radius = gap * step
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=lighten(base, 0.4) if step % 2 else base
        )


def _window(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    slant = int(width * rng.uniform(0.12, 0.3))
    for column in range(2):
        for row in range(3):
            x, y = int(width * (0.14 + 0.36 * column)), int(height * (0.04 + 0.26 * row))
            wide, high = int(width * 0.3), int(height * 0.22)
            shift = slant * (3 - row) // 3
            points = [
                (x + shift, y),
                (x + wide + shift, y),
                (x + wide + shift - slant // 3, y + high),
                (x + shift - slant // 3, y + high),
            ]
            draw.polygon(points, fill=lighten(base, 0.55))
    draw.rectangle((0, int(height * 0.86), width, height), fill=darken(base, 0.16))


def _hills(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    x = np.linspace(0, width, 60)
    for step, green in enumerate(((148, 186, 160), (112, 158, 128), (84, 132, 104))):
        phase = float(rng.uniform(0, 6.3))
        y = height * (0.62 + 0.11 * step) + height * 0.06 * np.sin(x / width * (4 + step) + phase)
        draw.polygon(
            [(0, height), *((float(a), float(b)) for a, b in zip(x, y, strict=True)), (width, height)],
            fill=green,
        )


def _velvet(draw: ImageDraw.ImageDraw, width: int, height: int, base: Rgb, rng: np.random.Generator) -> None:
    step = width // int(rng.integers(6, 9))
    for row, y in enumerate(range(0, height + step, step)):
        for x in range(0 if row % 2 else step // 2, width + step, step):
            draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=lighten(base, 0.16))


_PATTERNS: dict[str, Pattern] = {
    "sneakers": _stripes,
    "mugs": _table,
    "lamps": _night,
    "dresses": _arches,
    "headphones": _rings,
    "plants": _window,
    "backpacks": _hills,
    "watches": _velvet,
}
