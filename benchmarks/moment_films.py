"""Drawn videos with planted events, for `benchmarks/moments.py`."""

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vrec.media.audio import RATE_HZ
from vrec.media.moments.subtitles import Cue
from vrec.synthetic.videos.audio import SAMPLE_RATE_HZ, synthesize_audio
from vrec.synthetic.videos.plan import SyntheticVideo, SyntheticVideosConfig, plan_catalog
from vrec.synthetic.videos.products import PRODUCT_COLORS
from vrec.synthetic.videos.scene import render_frames

SECONDS, FPS, EVENT_S = 24.0, 12, 2.5
SLOTS = (2.0, 7.5, 13.0, 18.5)
"""Earliest starts of the four events of a video; each is up to 2.5 s later."""
CAPTIONS = (
    ("look how the zip opens", "where does she open the zip?"),
    ("it fits in a small bag", "does it fit into a bag"),
    ("这里 看 拉链", "拉链在哪里"),
    ("washed at thirty degrees", "how to wash it, degrees"),
    ("a pocket inside", "is there an inside pocket"),
    ("充电 只要 一 小时", "充电要多久"),
)
TALK = ("welcome back everyone", "thanks for watching", "today in our shop", "大家 好", "see you next time")


@dataclass(frozen=True)
class PlantedEvent:
    """Event of a drawn video, and how it is looked for."""

    kind: str
    at_s: float
    category: str
    """Class of the product that is looked for."""
    words: str | None = None
    picture: np.ndarray | None = None
    sound: np.ndarray | None = None


@dataclass(frozen=True)
class DrawnVideo:
    """File with planted events."""

    path: Path
    category: str
    """Class of the product that it shows all the time."""
    cues: tuple[Cue, ...]
    events: tuple[PlantedEvent, ...]


def draw(seed: int, count: int, folder: Path) -> list[DrawnVideo]:
    """Draw videos of different products, each with an event of every kind."""
    rng = np.random.default_rng(seed)
    plan = plan_catalog(
        SyntheticVideosConfig(
            videos=3 * count,
            near_duplicates=0,
            broken=0,
            seconds=SECONDS,
            fps=FPS,
            width=224,
            height=224,
            seed=seed,
        )
    )
    return [_draw(plan[n], plan[count + n], plan[2 * count + n], rng, folder) for n in range(count)]


def _draw(
    video: SyntheticVideo, other: SyntheticVideo, loud: SyntheticVideo, rng: np.random.Generator, folder: Path
) -> DrawnVideo:
    starts = dict(zip(rng.permutation(["object", "color", "caption", "sound"]), SLOTS, strict=True))
    at = {str(kind): round(float(start + rng.uniform(0, 2.5)), 2) for kind, start in starts.items()}
    colors = [color.en for color in PRODUCT_COLORS if color.en != video.color]
    recolored = replace(video, color=str(rng.choice(colors)))
    objects, tinted = (list(itertools.islice(render_frames(one), 90)) for one in (other, recolored))
    frames: list[Image.Image] = []
    for number, rendered in enumerate(render_frames(video)):
        frame, now = rendered, number / FPS
        if at["object"] <= now < at["object"] + EVENT_S:
            frame.paste(objects[number % 30].resize((150, 150)), (60, 60))
        if at["color"] <= now < at["color"] + EVENT_S:
            frame = tinted[number % 30]
        frames.append(frame)
    wave, heard = synthesize_audio(video), _sound(rng)
    first = round(at["sound"] * SAMPLE_RATE_HZ)
    wave[first : first + len(heard)] = heard[: len(wave) - first]
    said, asked = CAPTIONS[int(rng.integers(len(CAPTIONS)))]
    cues = [Cue(at["caption"], at["caption"] + EVENT_S, said)]
    cues += [Cue(t, t + 1.5, str(rng.choice(TALK))) for t in (0.2, 5.5, 11.2, 16.7, 22.0)]
    path = folder / f"{video.video_id.replace('/', '-')}.mp4"
    _write(path, frames, wave)
    noise = rng.normal(0, 0.003, len(heard)).astype(np.float32)
    to_16k = np.interp(
        np.arange(int(len(heard) / SAMPLE_RATE_HZ * RATE_HZ)) / RATE_HZ,
        np.arange(len(heard)) / SAMPLE_RATE_HZ,
        heard + noise,
    )
    events = (
        PlantedEvent("object", at["object"], other.category, picture=_square(objects[75], crop=10)),
        PlantedEvent("color", at["color"], video.category, picture=_square(tinted[75], crop=10)),
        PlantedEvent("caption", at["caption"], video.category, words=asked),
        PlantedEvent("sound", at["sound"], video.category, sound=to_16k.astype(np.float32)),
    )
    return DrawnVideo(path, video.category, tuple(cues), events)


def _sound(rng: np.random.Generator) -> np.ndarray:
    """A tone that trembles, of a pitch of its own, unlike the music of the drawn videos."""
    times = np.arange(int(EVENT_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch, rate = rng.uniform(500, 4000), rng.uniform(4, 20)
    tone = np.sin(2 * np.pi * pitch * times) * (0.5 + 0.5 * np.sin(2 * np.pi * rate * times))
    return (0.4 * tone).astype(np.float32)


def _square(image: Image.Image, crop: int) -> np.ndarray:
    inside = image.crop((crop, crop, image.width - crop, image.height - crop))
    return np.asarray(inside.resize((224, 224)))[None]


def _write(path: Path, frames: list[Image.Image], wave: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 224, 224, "yuv420p"
        stream.options = {"crf": "26", "preset": "veryfast", "threads": "1"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for number, image in enumerate(frames):
            picture = av.VideoFrame.from_image(image)
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(picture))
        for start in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
            container.mux(audio.encode(frame))
        container.mux(stream.encode(None))
        container.mux(audio.encode(None))
