"""The videos that compressed networks are made and judged with: pictures, and labels where there are some."""

import csv
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.compression.distill import DistillationPictures
from vrec.config.settings import Settings
from vrec.core.errors import CompressError, ConfigError, os_error_reason
from vrec.core.types import Clip, Frames
from vrec.media.decode_process import DecodeProcess
from vrec.media.source import open_source
from vrec.pipelines.embed.plan import deduplicate_refs
from vrec.pipelines.embed.stages import EmbedJob, decode_refs

_LEAST = 3
"""Videos below which there are no neighbours to lose."""


@dataclass(frozen=True, slots=True)
class VideoLabels:
    """What people say the videos show; the rows are those of the catalogue that have a label."""

    rows: tuple[int, ...]
    labels: tuple[str, ...]
    sources: tuple[str, ...] | None
    """Who made each, where the file says so."""


class CompressionDataset:
    """Some videos of a catalogue, decoded as `vrec embed` does, at whatever size is asked for."""

    def __init__(self, videos: str, settings: Settings, frame_px: int) -> None:
        """`failed` says why videos were left out.

        Raises SourceError for no catalogue, and CompressError where fewer than 3 of its videos decode.
        """
        config, source = settings.compress, open_source(videos)
        refs = deduplicate_refs(source.refs(), source.uri)[0].sort_by("video_id")
        drawn = np.random.default_rng(config.seed).permutation(refs.num_rows)[: config.videos]
        self._refs, self._settings, self._px = refs.take(np.sort(drawn)), settings, frame_px
        self._clips: dict[int, dict[str, Clip]] = {}
        self._clips[frame_px], self.failed = self._decode(frame_px, {})
        self.ids = tuple(self._clips[frame_px])
        if len(self.ids) < _LEAST:
            why = "".join(f"; {name}: {reason}" for name, reason in list(self.failed.items())[:1])
            raise CompressError(
                f"{source.uri}: {len(self.ids)} of {self._refs.num_rows} videos decode, and neighbours need "
                f"{_LEAST}{why}",
                fix="give --videos a folder with more videos that can be decoded",
            )

    def clips(self, frame_px: int) -> list[Clip]:
        """The clip of each of `ids`, with pictures of that size; raises CompressError where one fails now."""
        if frame_px not in self._clips:
            found, failed = self._decode(frame_px, {})
            if set(self.ids) - set(found):
                # Once more: on a busy machine a long video may take too long one time and not the next.
                again, failed = self._decode(frame_px, {}, without=found)
                found |= again
            if lost := [name for name in self.ids if name not in found]:
                raise CompressError(
                    f"{len(lost)} videos decode at {self._px} pixels and not at {frame_px}, such as "
                    f"{lost[0]}: {failed[lost[0]]}",
                    fix="set compress.student.frame_px to another size, such as a multiple of 32",
                )
            self._clips[frame_px] = found
        return [self._clips[frame_px][name] for name in self.ids]

    def distillation_pictures(self) -> DistillationPictures:
        """Pictures to learn from, with the places in `ids` of their videos."""
        settings = self._settings
        sample = settings.embed.sample.model_copy(update={"frames": settings.compress.frames})
        found, _ = self._decode(self._px, {"sample": sample})
        blocks: list[Frames] = []
        rows: list[int] = []
        for row, name in enumerate(self.ids):
            frames = found[name].frames if name in found else None
            if frames is not None:
                blocks.append(frames)
                rows += [row] * len(frames)
        return DistillationPictures(np.concatenate(blocks), np.array(rows, np.int64))

    def _decode(
        self, frame_px: int, changes: Mapping[str, object], without: Collection[str] = ()
    ) -> tuple[dict[str, Clip], dict[str, str]]:
        """The clips by video, and why the others could not be decoded; those of `without` are not tried."""
        embed = self._settings.embed
        parts = {
            "decode": embed.decode.model_copy(update={"frame_px": frame_px}),
            "audio": embed.audio.model_copy(update={"enabled": False}),
        }
        job = EmbedJob("", embed.model_copy(update={**parts, **changes}), "")
        found: dict[str, Clip] = {}
        failed: dict[str, str] = {}
        with DecodeProcess(job.config.media()) as decoder:
            refs = self._refs.filter([name not in without for name in self._refs["video_id"].to_pylist()])
            for start in range(0, refs.num_rows, job.config.batch_size):
                batch: pa.Table = refs.slice(start, job.config.batch_size)
                for outcome in decode_refs(batch, decoder, job):
                    name = outcome.row["video_id"]
                    if outcome.clip is not None:
                        found[name] = outcome.clip
                    else:
                        failed[name] = f"{outcome.row['error']}: {outcome.row['message']}"
        return found, failed


def read_labels(path: str, ids: Sequence[str]) -> VideoLabels:
    """The labels of those `ids` that the CSV file at `path` names.

    Raises ConfigError where it cannot be read, lacks a column, or labels none of the videos.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(f"compress.labels {path}: {os_error_reason(error)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"compress.labels {path} is not a CSV file: {error}") from None
    columns = set(rows[0]) if rows else set()
    name = "video_id" if "video_id" in columns else "file"
    if not {name, "label"} <= columns:
        raise ConfigError(
            f"compress.labels {path} has the columns {', '.join(sorted(map(str, columns))) or 'of no row'}",
            fix="give it the columns video_id (or file) and label",
        )
    said = {row[name] if name == "video_id" else posixpath.splitext(row[name])[0]: row for row in rows}
    known = [(at, said[video]) for at, video in enumerate(ids) if video in said]
    if not known:
        raise ConfigError(
            f"compress.labels {path} names none of {len(ids)} videos: it has {next(iter(said))}, and the "
            f"catalogue {ids[0]}",
            fix="name videos as `vrec embed` does: by the path below --videos without its ending",
        )
    sources = tuple(row["source"] for _, row in known) if "source" in columns else None
    return VideoLabels(tuple(at for at, _ in known), tuple(row["label"] for _, row in known), sources)
