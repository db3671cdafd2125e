"""Drawings of products for the home: mugs, lamps, plants, headphones."""

import numpy as np
from PIL import Image, ImageFilter

from vrec.synthetic.videos.motion import ProductScene, SpriteLayer, SpritePose
from vrec.synthetic.videos.shapes import DrawingCanvas, Point, darken, glow, lighten, spline, with_shadow


def mugs(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a mug of steaming coffee."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    handle = spline([(64, 44), (80, 42), (87, 54), (80, 68), (63, 72)], closed=False)
    canvas.line(handle, 6.4, darken(rgb, 0.12))
    body = spline([(20, 34), (21, 60), (27, 80), (36, 86), (46, 87), (56, 86), (65, 80), (71, 60), (72, 34)])
    canvas.shape(body, lighten(rgb, 0.2), darken(rgb, 0.16))
    for i in range(int(scene.rng.integers(1, 4))):
        y = 52 + 8 * i
        inset = 1.0 + max(0.0, (y - 60) * 0.24)
        left, right = 21 + inset, 71 - inset
        band = [(left, y), (46, y + 3), (right, y), (right, y + 3.4), (46, y + 6.4), (left, y + 3.4)]
        canvas.shape(spline(band), lighten(rgb, 0.72))
    canvas.ellipse((46, 33), 26, 7.2, lighten(rgb, 0.42), lighten(rgb, 0.2))
    canvas.ellipse((46, 33.6), 22.8, 5.4, darken(rgb, 0.4))
    canvas.ellipse((46, 34.6), 21, 4.3, (92, 58, 40), (58, 34, 22))
    sprite = with_shadow(canvas.sprite(scene.side), (0.02, 0.04), 0.035, 0.4)

    def breathe(t: float) -> SpritePose:
        size = 1 + 0.05 * scene.wave(t, 0.3)
        return SpritePose(scene.x, scene.y, 1.5 * scene.wave(t, 0.4), size, size)

    wisps = [_wisp(scene, number) for number in range(3)]
    return [SpriteLayer(sprite, (0.48, 0.62), breathe), *wisps]


def _wisp(scene: ProductScene, number: int) -> SpriteLayer:
    canvas = DrawingCanvas()
    sway = 7 if number % 2 else -7
    canvas.line(
        spline([(50, 92), (50 + sway, 70), (50 - sway, 45), (50, 14)], closed=False), 7, (255, 255, 255)
    )
    side = max(24, scene.side * 4 // 10)
    soft = canvas.sprite(side).getchannel("A").filter(ImageFilter.GaussianBlur(side * 0.035))
    sprite = Image.new("RGBA", (side, side), (255, 255, 255, 0))
    sprite.putalpha(soft)

    def rise(t: float) -> SpritePose:
        life = (t * (0.25 + 0.3 * scene.tempo) + number / 3) % 1
        return SpritePose(
            scene.x + (number - 1) * 0.07,
            scene.y - 0.2 - 0.16 * life,
            lean=0.25 * scene.wave(t, 0.6, number),
            opacity=0.8 * float(np.sin(np.pi * life)),
        )

    return SpriteLayer(sprite, (0.5, 0.9), rise)


def lamps(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a table lamp that dims and brightens."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    brass = (186, 148, 88)
    canvas.ellipse((50, 90), 20, 5, lighten(brass, 0.15), darken(brass, 0.3))
    canvas.line([(50, 46), (50, 88)], 3.2, brass)
    bulge = float(scene.rng.uniform(4, 9))
    foot = spline([(48, 58), (50 + bulge, 68), (52, 84), (48, 84), (50 - bulge, 68)])
    canvas.shape(foot, lighten(rgb, 0.1), darken(rgb, 0.3))
    canvas.line([(61, 47), (61, 58)], 0.7, brass)
    canvas.ellipse((61, 59), 1.4, 1.4, lighten(brass, 0.3))
    top = float(scene.rng.uniform(12, 19))
    shade = [(50 - top, 12), (50 + top, 12), (77, 46), (23, 46)]
    canvas.shape(shade, lighten(rgb, 0.42), lighten(rgb, 0.12))
    for share in np.linspace(-0.85, 0.85, 9):
        canvas.line([(50 + top * share, 13), (50 + 27 * share, 45.5)], 0.5, darken(rgb, 0.08))
    canvas.line([(24, 45.6), (76, 45.6)], 1.6, darken(rgb, 0.2))
    sprite = with_shadow(canvas.sprite(scene.side), (0.03, 0.02), 0.03, 0.5)
    warm = (255, 214, 140)

    def dim(t: float) -> SpritePose:
        return SpritePose(scene.x, scene.y - 0.14, opacity=0.62 + 0.38 * scene.wave(t, 0.5))

    def lit(t: float) -> SpritePose:
        return SpritePose(scene.x, scene.y - 0.2, opacity=0.6 + 0.4 * scene.wave(t, 0.5))

    behind = SpriteLayer(glow(scene.side * 5 // 4, warm, 0.85), (0.5, 0.5), dim)
    within = SpriteLayer(glow(scene.side // 2, (255, 246, 214), 0.9), (0.5, 0.5), lit)
    return [behind, SpriteLayer(sprite, (0.5, 0.5), lambda _: SpritePose(scene.x, scene.y)), within]


def plants(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a potted plant with swaying leaves."""
    rgb = scene.rgb
    pot = DrawingCanvas()
    pot.shape([(33, 66), (67, 66), (62, 93), (38, 93)], lighten(rgb, 0.12), darken(rgb, 0.18))
    pot.slab((30, 60, 70, 69), 2, lighten(rgb, 0.28), rgb)
    pot.ellipse((50, 61), 17, 2.2, (70, 50, 38))
    potted = with_shadow(pot.sprite(scene.side), (0.03, 0.03), 0.03, 0.35)
    count = int(scene.rng.integers(7, 11))
    length = float(scene.rng.uniform(40, 52))
    layers = [SpriteLayer(potted, (0.5, 0.6), lambda _: SpritePose(scene.x, scene.y + 0.12))]
    crowns = [DrawingCanvas(), DrawingCanvas()]
    for number, angle in enumerate(np.linspace(-74, 74, count)):
        green = (46 + int(scene.rng.integers(40)), 126 + int(scene.rng.integers(40)), 72)
        reach = length * (1 - 0.28 * abs(angle) / 74) * float(scene.rng.uniform(0.88, 1.06))
        _leaf(crowns[number % 2], float(np.radians(angle)), reach, green)
    for number, crown in enumerate(crowns):

        def sway(t: float, shift: float = number * 1.4) -> SpritePose:
            return SpritePose(
                scene.x, scene.y + 0.14, 3 * scene.wave(t, 0.5, shift), lean=0.13 * scene.wave(t, 0.5, shift)
            )

        layers.insert(0, SpriteLayer(crown.sprite(scene.side), (0.5, 0.62), sway))
    return layers


def _leaf(canvas: DrawingCanvas, angle: float, reach: float, green: tuple[int, int, int]) -> None:
    across, along = np.array([np.cos(angle), np.sin(angle)]), np.array([np.sin(angle), -np.cos(angle)])
    droop = np.array([0.0, 1.0]) * reach * 0.35 * abs(np.sin(angle))

    def point(share: float, aside: float) -> Point:
        x, y = np.array([50.0, 62.0]) + along * reach * share + across * aside + droop * share**2
        return float(x), float(y)

    wide = reach * 0.17
    outline = [
        point(0.0, 0.6),
        point(0.35, wide * 0.7),
        point(0.65, wide),
        point(1.0, 0),
        point(0.65, -wide),
        point(0.35, -wide * 0.7),
    ]
    canvas.shape(spline(outline), lighten(green, 0.16), darken(green, 0.22))
    canvas.line([point(share, 0) for share in np.linspace(0, 0.92, 8)], 0.8, lighten(green, 0.42))


def headphones(scene: ProductScene) -> list[SpriteLayer]:
    """Draw headphones that nod to a beat."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    arch = [
        (50 - 33 * float(np.cos(a)), 52 - 36 * float(np.sin(a))) for a in np.linspace(-0.1, np.pi + 0.1, 40)
    ]
    canvas.line(arch, 6.5, darken(rgb, 0.5))
    pad = [
        (50 - 31 * float(np.cos(a)), 51 - 32.5 * float(np.sin(a)))
        for a in np.linspace(0.55, np.pi - 0.55, 30)
    ]
    canvas.line(pad, 4.5, lighten(rgb, 0.4))
    for side in (-1, 1):
        x = 50 + 31 * side
        cushion, shell = 50 + 24.5 * side, 50 + 33 * side
        canvas.slab((cushion - 6, 48, cushion + 6, 84), 5.5, (62, 64, 72), (32, 34, 42))
        canvas.slab((shell - 8.5, 45, shell + 8.5, 87), 8, lighten(rgb, 0.24), darken(rgb, 0.2))
        canvas.slab(
            (x + 2.6 * side - 2.6, 56, x + 2.6 * side + 2.6, 76), 2.4, lighten(rgb, 0.55), lighten(rgb, 0.3)
        )
        canvas.line([(50 + 33 * side, 40), (50 + 33 * side, 48)], 3, (200, 202, 206))
    sprite = with_shadow(canvas.sprite(scene.side), (0.02, 0.05), 0.035, 0.35)
    strength = float(scene.rng.uniform(0.05, 0.09))

    def nod(t: float) -> SpritePose:
        beat = (scene.tempo * 2 * t + scene.phase / 6.3) % 1
        size = 1 + strength * float(np.exp(-5 * beat))
        return SpritePose(
            scene.x, scene.y - 0.03 * float(np.exp(-5 * beat)), 5 * scene.wave(t, 0.5), size, size
        )

    return [SpriteLayer(sprite, (0.5, 0.55), nod)]
