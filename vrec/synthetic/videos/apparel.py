"""Drawings of products to wear: sneakers, dresses, backpacks, watches."""

from collections.abc import Callable

import numpy as np

from vrec.synthetic.videos.motion import ProductScene, SpriteLayer, SpritePose
from vrec.synthetic.videos.shapes import (
    DrawingCanvas,
    Rgb,
    darken,
    lighten,
    mirror_outline,
    mix,
    parse_points,
    spline,
    with_shadow,
)

_WHITE = (250, 249, 246)


def sneakers(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a running shoe that hops."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    upper = spline(parse_points("9,66 8,50 10,36 19,33 27,40 37,36 45,40 56,50 72,55 88,59 94,68 50,70"))
    canvas.shape(spline([(12, 38), (20, 28), (30, 32), (38, 38), (30, 46), (18, 46)]), darken(rgb, 0.55))
    canvas.shape(upper, lighten(rgb, 0.18), darken(rgb, 0.12))
    canvas.shape(
        spline([(74, 56), (88, 59), (94, 67), (76, 68), (70, 62)]), lighten(rgb, 0.5), lighten(rgb, 0.3)
    )
    canvas.shape(spline([(9, 40), (16, 40), (18, 66), (9, 66)]), darken(rgb, 0.3), darken(rgb, 0.4))
    canvas.line(spline([(20, 60), (36, 62), (52, 56), (60, 50)], closed=False), 4.2, _WHITE)
    for i in range(4):
        x, y = 38 + i * 5.4, 38.5 + i * 3.6
        canvas.line([(x - 2.5, y + 5.5), (x + 3.5, y - 1.2)], 2.0, _WHITE)
    sole = spline([(6, 66), (30, 67), (60, 68), (94, 66), (97, 71), (92, 77), (50, 78), (10, 77), (4, 72)])
    canvas.shape(sole, _WHITE, (216, 214, 210))
    canvas.line(spline([(8, 76.5), (30, 78), (70, 78), (92, 76)], closed=False), 1.8, darken(rgb, 0.25))
    sprite = with_shadow(canvas.sprite(scene.side), (0.0, 0.05), 0.03, 0.35)

    def hop(t: float) -> SpritePose:
        up = abs(scene.wave(t))
        return SpritePose(
            scene.x + 0.09 * scene.wave(t, 0.25), scene.y - 0.12 * up, -9 * scene.wave(t, 1.0, 0.8)
        )

    return [SpriteLayer(sprite, (0.5, 0.6), hop)]


def dresses(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a dotted dress that swings on a hanger."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    wood = (148, 112, 82)
    canvas.line(spline([(50, 11), (50, 7), (54, 5), (55, 1.5), (51, 1)], closed=False), 1.4, (120, 124, 132))
    canvas.line([(36, 17), (50, 10), (64, 17)], 2.4, wood)
    for side in (-1, 1):
        canvas.line([(50 + 11 * side, 15), (50 + 10 * side, 26)], 3.2, darken(rgb, 0.1))
    bodice = spline(
        [(38, 24), (44, 27), (50, 29), (56, 27), (62, 24), (64, 34), (59, 47), (41, 47), (36, 34)]
    )
    canvas.shape(bodice, lighten(rgb, 0.1), rgb)
    width = float(scene.rng.uniform(24, 34))
    hem = [(50 + width * 0.7, 68.0), (50 + width, 90.0), (62.0, 94.0), (50.0, 91.5)]
    skirt = spline(mirror_outline([(59.0, 47.0), *hem]), steps=10)
    canvas.shape(skirt, rgb, darken(rgb, 0.22))
    for fold in (-0.55, -0.15, 0.3, 0.65):
        canvas.line([(50 + 7 * fold, 51), (50 + width * fold, 88)], 0.9, darken(rgb, 0.28))
    for row in range(7):
        reach = 8 + (width - 10) * row / 6
        for column in range(-3, 4):
            x = 50 + (column + 0.5 * (row % 2)) * 6.4
            if abs(x - 50) < reach:
                canvas.ellipse((x, 53 + row * 5.6), 1.1, 1.1, lighten(rgb, 0.75))
    canvas.slab((40, 45, 60, 49), 1.5, darken(rgb, 0.5))
    sprite = with_shadow(canvas.sprite(scene.side), (0.05, 0.05), 0.03, 0.3)

    def swing(t: float) -> SpritePose:
        tilt = scene.wave(t, 0.5)
        return SpritePose(scene.x, scene.y - 0.44, 9 * tilt, lean=-0.05 * scene.wave(t, 0.5, -0.9))

    return [SpriteLayer(sprite, (0.5, 0.03), swing)]


def backpacks(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a backpack that sways as if its owner walked."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    dark = darken(rgb, 0.42)
    canvas.line(spline([(41, 14), (42, 6), (50, 4), (58, 6), (59, 14)], closed=False), 3.2, dark)
    for side in (-1, 1):
        canvas.shape(
            spline([(50 + 25 * side, 30), (50 + 35 * side, 44), (50 + 34 * side, 72), (50 + 26 * side, 80)]),
            dark,
        )
    body = spline(mirror_outline(parse_points("50,10 64,12 72,22 76,50 76,82 68,91 50,92")))
    canvas.shape(body, lighten(rgb, 0.16), darken(rgb, 0.16))
    canvas.line(spline([(29, 34), (36, 22), (50, 18), (64, 22), (71, 34)], closed=False), 1.2, dark)
    canvas.shape(spline([(31, 58), (50, 55), (69, 58), (71, 80), (50, 86), (29, 80)]), rgb, darken(rgb, 0.25))
    canvas.line(spline([(32, 63), (50, 60), (68, 63)], closed=False), 1.2, dark)
    canvas.slab((58, 62, 60.4, 70), 1, (232, 214, 160))
    canvas.slab((44, 36, 56, 43), 1.6, (174, 128, 84), (140, 98, 60))
    for side in (-1, 1):
        canvas.line([(50 + 15 * side, 44), (50 + 15 * side, 56)], 2.6, (174, 128, 84))
    sprite = with_shadow(canvas.sprite(scene.side), (0.0, 0.04), 0.035, 0.35)

    def walk(t: float) -> SpritePose:
        step = scene.wave(t)
        return SpritePose(
            scene.x + 0.05 * step,
            scene.y - 0.03 * abs(scene.wave(t, 1.0, 1.2)),
            3.5 * step,
            scale_x=1 - 0.12 * (1 + scene.wave(t, 0.3)) / 2,
        )

    return [SpriteLayer(sprite, (0.5, 0.55), walk)]


def watches(scene: ProductScene) -> list[SpriteLayer]:
    """Draw a wristwatch with moving hands."""
    canvas, rgb = DrawingCanvas(), scene.rgb
    strap = mix(rgb, (84, 58, 44), 0.25)
    for top, bottom in ((2, 34), (66, 98)):
        canvas.slab((37, top, 63, bottom), 4, lighten(strap, 0.1), darken(strap, 0.2))
        for y in (top + 7, top + 13, top + 19):
            canvas.ellipse((50, y + (0 if top < 50 else 6)), 1.1, 1.1, darken(strap, 0.6))
    canvas.slab((76, 47, 81, 53), 1.5, (222, 222, 218), (150, 152, 158))
    canvas.ellipse((50, 50), 28, 28, (238, 238, 234), (138, 142, 150))
    canvas.ellipse((50, 50), 24.5, 24.5, (98, 102, 110), (206, 208, 210))
    light = bool(scene.rng.random() < 0.6)
    face, ink = ((252, 251, 247), (44, 48, 58)) if light else (darken(rgb, 0.72), (238, 236, 228))
    canvas.ellipse((50, 50), 23.5, 23.5, face, darken(face, 0.1))
    for hour in range(12):
        a = hour * np.pi / 6
        inner = 17.5 if hour % 3 else 16
        mark = [(50 + r * float(np.sin(a)), 50 - r * float(np.cos(a))) for r in (inner, 21)]
        canvas.line(mark, 1.0 if hour % 3 else 1.8, ink)
    sprite = with_shadow(canvas.sprite(scene.side), (0.03, 0.04), 0.03, 0.45)
    tilt = float(scene.rng.uniform(-34, 34))

    def rock(t: float) -> SpritePose:
        return SpritePose(scene.x, scene.y, tilt + 5 * scene.wave(t, 0.3))

    hands = [
        (12.0, 2.6, 6.0, ink),
        (18.0, 1.8, 40.0, ink),
        (20.0, 0.9, 120.0, (222, 74, 56)),
    ]
    layers = [SpriteLayer(sprite, (0.5, 0.5), rock)]
    for length, width, speed, color in hands:
        layers.append(_hand(scene, rock, length=length, width=width, speed=speed, color=color))
    return layers


def _hand(
    scene: ProductScene,
    rock: Callable[[float], SpritePose],
    *,
    length: float,
    width: float,
    speed: float,
    color: Rgb,
) -> SpriteLayer:
    canvas = DrawingCanvas()
    canvas.line([(50, 50 + length * 0.2), (50, 50 - length)], width, color)
    canvas.ellipse((50, 50), width * 1.1, width * 1.1, color)
    start = float(scene.rng.uniform(0, 360))

    def turn(t: float) -> SpritePose:
        base = rock(t)
        return SpritePose(base.x, base.y, base.degrees + start + speed * scene.tempo * t)

    # The hand needs only the middle of its canvas; a smaller sprite is faster to rotate in every frame.
    side = scene.side // 2 // 2 * 2
    edge = (scene.side - side) // 2
    return SpriteLayer(
        canvas.sprite(scene.side).crop((edge, edge, edge + side, edge + side)), (0.5, 0.5), turn
    )
