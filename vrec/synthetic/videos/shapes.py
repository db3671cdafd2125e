"""Anti-aliased shapes on a transparent canvas."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float]
Rgb = tuple[int, int, int]

SIDE = 600
"""Side of a canvas in pixels. It is drawn large and reduced, which smooths its edges."""
_UNIT = SIDE / 100


def mix(first: Rgb, second: Rgb, share: float) -> Rgb:
    """Return the color that lies `share` (0 to 1) of the way from the first to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))  # type: ignore[return-value]


def lighten(color: Rgb, share: float) -> Rgb:
    """Return the color moved `share` of the way to white."""
    return mix(color, (255, 255, 255), share)


def darken(color: Rgb, share: float) -> Rgb:
    """Return the color moved `share` of the way to a bluish black."""
    return mix(color, (12, 14, 24), share)


def parse_points(text: str) -> list[Point]:
    """Parse points written as in SVG, such as "9,66 8,50 10,36"."""
    pairs = (pair.split(",") for pair in text.split())
    return [(float(x), float(y)) for x, y in pairs]


def mirror_outline(right: Sequence[Point]) -> list[Point]:
    """Complete half an outline: return the points, then their mirror images about x = 50 in reverse order."""
    return [*right, *((100 - x, y) for x, y in reversed(right) if x != 50)]


def spline(through: Sequence[Point], *, closed: bool = True, steps: int = 14) -> list[Point]:
    """Return a Catmull-Rom curve (1974) through the points as a polyline of `steps` points per span."""
    knots = np.asarray(through, dtype=np.float64)
    padded = knots[np.r_[-1, 0 : len(knots), 0, 1]] if closed else knots[np.r_[0, 0 : len(knots), -1]]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    spans: list[npt.NDArray[np.float64]] = []
    for i in range(len(padded) - 3):
        a, b, c, d = padded[i : i + 4]
        spans.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    if not closed:
        spans.append(knots[-1:])
    return [(float(x), float(y)) for x, y in np.concatenate(spans)]


class DrawingCanvas:
    """Transparent square canvas; coordinates run from 0 to 100, y downwards."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)

    def shape(self, outline: Sequence[Point], top: Rgb, bottom: Rgb | None = None) -> None:
        """Fill a polygon, shaded from `top` down to `bottom` where one is given."""
        if bottom is None:
            self._draw.polygon([(x * _UNIT, y * _UNIT) for x, y in outline], fill=top)
            return
        left, upper = min(x for x, _ in outline), min(y for _, y in outline)
        right, lower = max(x for x, _ in outline), max(y for _, y in outline)
        size = (max(1, round((right - left) * _UNIT)), max(1, round((lower - upper) * _UNIT)))
        mask = Image.new("L", size, 0)
        ImageDraw.Draw(mask).polygon(
            [((x - left) * _UNIT, (y - upper) * _UNIT) for x, y in outline], fill=255
        )
        self.image.paste(
            vertical_gradient(size, top, bottom), (round(left * _UNIT), round(upper * _UNIT)), mask
        )

    def ellipse(self, center: Point, rx: float, ry: float, top: Rgb, bottom: Rgb | None = None) -> None:
        """Fill an ellipse."""
        angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        x, y = center
        self.shape([(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angle], top, bottom)

    def slab(
        self, box: tuple[float, float, float, float], radius: float, top: Rgb, bottom: Rgb | None = None
    ) -> None:
        """Fill a rectangle (left, top, right, bottom) with round corners."""
        x0, y0, x1, y1 = box
        outline: list[Point] = []
        corners = ((x1 - radius, y0 + radius, -90), (x1 - radius, y1 - radius, 0))
        corners += ((x0 + radius, y1 - radius, 90), (x0 + radius, y0 + radius, 180))
        for x, y, start in corners:
            for a in np.radians(np.linspace(start, start + 90, 10)):
                outline.append((x + radius * float(np.cos(a)), y + radius * float(np.sin(a))))
        self.shape(outline, top, bottom)

    def line(self, along: Sequence[Point], width: float, color: Rgb) -> None:
        """Draw a line with round joints and ends."""
        scaled = [(x * _UNIT, y * _UNIT) for x, y in along]
        self._draw.line(scaled, fill=color, width=max(1, round(width * _UNIT)), joint="curve")
        radius = width * _UNIT / 2
        for x, y in (scaled[0], scaled[-1]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def sprite(self, side: int) -> Image.Image:
        """Return the drawing, reduced to `side` pixels."""
        return self.image.resize((side, side), Image.Resampling.BOX, reducing_gap=None)


def vertical_gradient(size: tuple[int, int], top: Rgb, bottom: Rgb) -> Image.Image:
    """Return a picture that changes from one color at its top to another at its bottom."""
    pair = Image.new("RGB", (1, 2))
    pair.putpixel((0, 0), top)
    pair.putpixel((0, 1), bottom)
    # Sampling between the centers of the two pixels keeps both end colors.
    return pair.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))


def with_shadow(sprite: Image.Image, shift: tuple[float, float], blur: float, strength: float) -> Image.Image:
    """Return the sprite above its own soft shadow; `shift` and `blur` are shares of its side."""
    side = sprite.width
    shadow = Image.new("RGBA", sprite.size, (10, 12, 28, 0))
    alpha = sprite.getchannel("A").point(lambda a: int(a * strength))
    moved = Image.new("L", sprite.size, 0)
    moved.paste(alpha, (round(shift[0] * side), round(shift[1] * side)))
    shadow.putalpha(moved.filter(ImageFilter.GaussianBlur(blur * side)))
    shadow.alpha_composite(sprite)
    return shadow


def glow(side: int, color: Rgb, strength: float) -> Image.Image:
    """Return a round glow that fades to its rim; `strength`, 0 to 1, is the opacity of its center."""
    axis = np.linspace(-1, 1, side)
    distance = np.hypot(*np.meshgrid(axis, axis))
    alpha = np.clip(1 - distance, 0, 1) ** 1.6 * strength * 255
    patch = Image.new("RGBA", (side, side), (*color, 0))
    patch.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return patch
