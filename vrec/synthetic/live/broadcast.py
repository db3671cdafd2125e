"""Drawn live streams as HLS on disk: segments appear one by one, and what they show changes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.synthetic.videos.encode import draw_video
from vrec.synthetic.videos.plan import SyntheticVideo

PLAYLIST = "live.m3u8"
"""Name of each stream's playlist in its folder."""


class BroadcastConfig(BaseConfig):
    """Settings of drawn live streams."""

    streams: int = Field(default=4, ge=1, le=100)
    """Streams at the same time."""
    segment_s: float = Field(default=4.0, ge=0.5, le=20)
    """Seconds of each segment, and between two."""
    show_s: float = Field(default=40.0, ge=1)
    """Seconds for which a stream shows one category of products."""
    listed: int = Field(default=8, ge=2, le=100)
    """Segments in a playlist; older ones are deleted."""
    clips: int = Field(default=2, ge=1, le=20)
    """Clips of each category, which take turns."""
    viewers: float = Field(default=80.0, ge=1)
    """Median number of viewers."""
    seed: int = Field(default=7, ge=0)
    """Random seed."""


@dataclass(frozen=True, slots=True)
class BroadcastNow:
    """Stream after its newest segment."""

    stream_id: str
    streamer_id: str
    playlist: Path
    category: str
    """What it shows now."""
    product_id: str
    """Product that it shows now."""
    viewers: int


class Broadcast:
    """Live streams of a drawn catalog's creators. Each clip is encoded once; a segment is a copy of one."""

    def __init__(self, folder: Path, plan: Sequence[SyntheticVideo], config: BroadcastConfig) -> None:
        """Plan the streams; `prepare` draws their clips.

        Args:
            folder: Folder that gets a folder for each stream.
            plan: Videos of the catalog, whose products and creators the streams have.
            config: Settings.
        """
        self._folder, self._config, self._rng = folder, config, np.random.default_rng(config.seed)
        shown: dict[str, list[SyntheticVideo]] = {}
        for video in plan:
            if video.damage == "none" and len(shown.setdefault(video.category, [])) < config.clips:
                shown[video.category].append(video)
        self._clips = {category: shown[category] for category in sorted(shown)}
        creators = sorted({video.creator_id for video in plan if video.damage == "none"})
        self._streamers = [creators[number % len(creators)] for number in range(config.streams)]
        self._segments: dict[str, bytes] = {}
        self._number = 0
        self._viewers = config.viewers * np.exp(self._rng.normal(0, 0.7, config.streams))

    def prepare(self) -> None:
        """Draw and encode the clips, once."""
        for videos in self._clips.values():
            for video in videos:
                self._segments[video.video_id] = _segment(video, self._config.segment_s)

    def advance(self) -> list[BroadcastNow]:
        """Append one segment to each stream, and return the streams as they are then."""
        self._viewers = np.maximum(1, self._viewers * np.exp(self._rng.normal(0, 0.08, self._config.streams)))
        now = [self._append(number) for number in range(self._config.streams)]
        self._number += 1
        return now

    def _append(self, stream: int) -> BroadcastNow:
        video = self._shown(stream, self._number)
        folder = self._folder / f"live-{stream + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _name(self._number)).write_bytes(self._segments[video.video_id])
        first = max(0, self._number + 1 - self._config.listed)
        seconds = self._config.segment_s
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{round(seconds + 0.5)}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, self._number + 1):
            # Each segment is a clip with a clock of its own.
            lines += ["#EXT-X-DISCONTINUITY", f"#EXTINF:{seconds:.3f},", _name(number)]
        whole = folder / f"{PLAYLIST}.tmp"
        whole.write_text("\n".join([*lines, ""]))
        os.replace(whole, folder / PLAYLIST)
        # Whoever has read the playlist before may still fetch what it named.
        (folder / _name(first - 3)).unlink(missing_ok=True)
        return BroadcastNow(
            stream_id=folder.name,
            streamer_id=self._streamers[stream],
            playlist=folder / PLAYLIST,
            category=video.category,
            product_id=video.product_id,
            viewers=round(float(self._viewers[stream])),
        )

    def _shown(self, stream: int, number: int) -> SyntheticVideo:
        """Return the clip that a stream shows as its segment of a number."""
        categories = list(self._clips)
        shows = int(number * self._config.segment_s // self._config.show_s)
        # The streams begin apart, and go through the categories at steps that meet all of them.
        videos = self._clips[categories[(2 * stream + 3 * shows) % len(categories)]]
        return videos[number % len(videos)]


def _name(number: int) -> str:
    return f"{number:06d}.ts"


def _segment(video: SyntheticVideo, seconds: float) -> bytes:
    """Return a clip as an MPEG transport stream."""
    with TemporaryDirectory(prefix="vrec-live-") as name:
        folder = Path(name)
        clip = replace(video, seconds=seconds)
        draw_video(clip, folder)
        with av.open(folder / clip.file) as source, av.open(folder / "clip.ts", "w", format="mpegts") as out:
            streams = {one.index: out.add_stream_from_template(one) for one in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
        return (folder / "clip.ts").read_bytes()
