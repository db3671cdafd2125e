"""Rendering of a `GalleryReport` as a self-contained HTML file."""

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
from vrec.evaluation.reports.rendering import HUES, MARKS, page_environment, template_source

_MODALITY_NAMES: Mapping[Modality, str] = {
    "fused": "Combined",
    "frames": "Frames",
    "audio": "Audio",
    "text": "Text",
}
_MAP_SIZE = (1000, 560)
_WORKER_TIMINGS = ("read_s", "decode_s", "encode_s", "write_s")
"""Timings summed over parallel workers; their sum can exceed the wall-clock time."""


def write_gallery(report: GalleryReport, path: Path) -> None:
    """Write the report as a self-contained HTML page at `path`, atomically.

    Titles, names and messages are escaped, and the page's content security policy forbids loading anything.

    Raises:
        OSError: If the path cannot be written.
    """
    html = render_gallery(report)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, path)


def render_gallery(report: GalleryReport) -> str:
    """Return the page's HTML."""
    environment = page_environment()
    environment.filters.update(clock=_clock, picture=_picture)
    environment.tests["notin"] = lambda value, group: value not in group
    script, style = (template_source(environment, name) for name in ("gallery.js", "gallery.css"))
    hues = {name: min(i, HUES) for i, (name, _) in enumerate(report.categories)}
    return environment.get_template("gallery.html.j2").render(
        report=report,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        data=Markup(_data(report, hues)),
        hues=hues,
        names=_MODALITY_NAMES,
        mark_paths=_mark_paths(report, hues),
        marks={name: MARKS[i % len(MARKS)] for i, (name, _) in enumerate(report.categories)},
        map_size=_MAP_SIZE,
        worker_timings=_WORKER_TIMINGS,
    )


def _data(report: GalleryReport, hues: Mapping[str, int]) -> str:
    """Return JSON for the page's script, `<` and `&` escaped so that no title can end the script element."""
    near = {
        modality: [
            [[other, round(score, 3)] for other, score in video.neighbors[modality]]
            if modality in video.neighbors
            else None
            for video in report.videos[: report.shown]
        ]
        for modality in report.modalities
    }
    videos = [[v.title, hues.get(v.category or "", HUES), v.language or ""] for v in report.videos]
    text = json.dumps({"videos": videos, "near": near}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026").replace("\u2028", " ").replace("\u2029", " ")


def _mark_paths(report: GalleryReport, hues: Mapping[str, int]) -> list[tuple[int, float, float, int, str]]:
    """Return (index, x, y, hue, mark) of each point on the map, in the map's units."""
    width, height = _MAP_SIZE
    order = {name: i for i, (name, _) in enumerate(report.categories)}
    on_map = [(number, video, video.xy) for number, video in enumerate(report.videos) if video.xy]
    if not on_map:
        return []
    middle = np.array([width, height]) / 2
    positions = middle + np.array([xy for _, _, xy in on_map]) * (middle - 40)
    gap = min(21.0, 0.6 * (width * height / len(on_map)) ** 0.5)
    positions = np.clip(spread_points(positions, gap), 14, np.array([width, height]) - 14)
    points: list[tuple[int, float, float, int, str]] = []
    for (number, video, _), (x, y) in zip(on_map, positions.tolist(), strict=True):
        category = video.category or ""
        mark = MARKS[order.get(category, 0) % len(MARKS)]
        points.append((number, round(x, 1), round(y, 1), hues.get(category, HUES), mark))
    return points


def _picture(video: GalleryVideo) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(video.poster).decode()}" if video.poster else ""


def _clock(seconds: float) -> str:
    """Format a duration as video players do: 0:04, 12:30, 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
