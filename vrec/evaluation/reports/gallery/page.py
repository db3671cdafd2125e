"""A `GalleryReport` as one HTML file that needs nothing else: no network, no second file."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup

from vrec.core.types import Modality
from vrec.evaluation.reports.gallery.neighbors import spread_points
from vrec.evaluation.reports.gallery.report import GalleryReport, GalleryVideo
from vrec.evaluation.reports.rendering import page_environment, template_source

_HUES = 10
"""Categories with a colour of their own; the rest share a grey."""
_MARKS = ("circle", "square", "triangle", "diamond")
_MODALITY_NAMES: Mapping[Modality, str] = {
    "fused": "Everything",
    "frames": "Look",
    "audio": "Sound",
    "text": "Words",
}
_MAP_SIZE = (1000, 560)
_WORKED = ("read_s", "decode_s", "encode_s", "write_s")
"""Timings that the workers spend side by side: their sum may exceed the wall clock."""


def write_gallery(report: GalleryReport, path: Path) -> None:
    """Write the report as one self-contained HTML page at `path`, whole or not at all.

    Titles, names and messages are escaped, and the page's own policy forbids it to load anything.
    Raises OSError where the path cannot be written.
    """
    html = render_gallery(report)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, path)


def render_gallery(report: GalleryReport) -> str:
    """The page's HTML."""
    environment = page_environment()
    environment.filters.update(clock=_clock, picture=_picture)
    environment.tests["notin"] = lambda value, group: value not in group
    script, style = (template_source(environment, name) for name in ("gallery.js", "gallery.css"))
    hues = {name: min(i, _HUES) for i, (name, _) in enumerate(report.categories)}
    return environment.get_template("gallery.html.j2").render(
        report=report,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        data=Markup(_data(report, hues)),
        hues=hues,
        names=_MODALITY_NAMES,
        mark_paths=_mark_paths(report, hues),
        marks={name: _MARKS[i % len(_MARKS)] for i, (name, _) in enumerate(report.categories)},
        map_size=_MAP_SIZE,
        worked=_WORKED,
    )


def _data(report: GalleryReport, hues: Mapping[str, int]) -> str:
    """JSON for the page's script; `<` and `&` are spelt so that no title can end the script element."""
    near = {
        modality: [
            [[other, round(score, 3)] for other, score in video.neighbours[modality]]
            if modality in video.neighbours
            else None
            for video in report.videos[: report.shown]
        ]
        for modality in report.modalities
    }
    videos = [[v.title, hues.get(v.category or "", _HUES), v.language or ""] for v in report.videos]
    text = json.dumps({"videos": videos, "near": near}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026").replace("\u2028", " ").replace("\u2029", " ")


def _mark_paths(report: GalleryReport, hues: Mapping[str, int]) -> list[tuple[int, float, float, int, str]]:
    """(index, x, y, hue, mark) of each point on the map, in the map's own units."""
    width, height = _MAP_SIZE
    order = {name: i for i, (name, _) in enumerate(report.categories)}
    placed = [(number, video, video.xy) for number, video in enumerate(report.videos) if video.xy]
    if not placed:
        return []
    middle = np.array([width, height]) / 2
    spots = middle + np.array([xy for _, _, xy in placed]) * (middle - 40)
    gap = min(21.0, 0.6 * (width * height / len(placed)) ** 0.5)
    spots = np.clip(spread_points(spots, gap), 14, np.array([width, height]) - 14)
    points: list[tuple[int, float, float, int, str]] = []
    for (number, video, _), (x, y) in zip(placed, spots.tolist(), strict=True):
        category = video.category or ""
        mark = _MARKS[order.get(category, 0) % len(_MARKS)]
        points.append((number, round(x, 1), round(y, 1), hues.get(category, _HUES), mark))
    return points


def _picture(video: GalleryVideo) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(video.poster).decode()}" if video.poster else ""


def _clock(seconds: float) -> str:
    """A length as players show it: 0:04, 12:30, 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
