"""Videos that networks are compressed and evaluated with: decoded clips, and labels where there are some."""

import csv
import io
import logging
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.compression.distill import DistillationPictures
from vrec.config.settings import Settings
from vrec.core.errors import CompressError, ConfigError, SourceError, os_error_reason
from vrec.core.types import Clip, Frames
from vrec.core.uris import read_file
from vrec.media.catalog import open_source
from vrec.media.decode_process import DecodeProcess
from vrec.pipelines.embed.plan import list_catalog
from vrec.pipelines.embed.stages import EmbedJob, decode_refs

_log = logging.getLogger(__name__)

_LABELS_FIX = "give a CSV file with the columns video_id (or file) and label"
_MIN_VIDEOS = 3
"""Fewest videos with which neighbors can be compared."""


@dataclass(frozen=True, slots=True)
class VideoLabels:
    """Labels of some videos by people."""

    rows: tuple[int, ...]
    """Rows of the labeled videos in the dataset."""
    labels: tuple[str, ...]
    """Their labels."""
    sources: tuple[str, ...] | None
    """Their creators, None where the file has no such column."""


class CompressionDataset:
    """Videos drawn from a catalog, decoded as `vrec embed` does, at any frame size."""

    def __init__(self, videos: str, settings: Settings, frame_px: int) -> None:
        """Draw and decode `compress.videos` of the catalog `videos`; `failed` has the errors of the others.

        Raises SourceError for a catalog that cannot be read, and CompressError where fewer than 3 videos
        decode.
        """
        config, source = settings.compress, open_source(videos)
        refs, unlisted = list_catalog(source)
        refs = refs.sort_by("video_id")
        drawn = np.random.default_rng(config.seed).permutation(refs.num_rows)[: config.videos]
        _log.info("decoding %d of %d videos", len(drawn), refs.num_rows)
        self._refs, self._settings, self._px = refs.take(np.sort(drawn)), settings, frame_px
        self._clips: dict[int, dict[str, Clip]] = {}
        self._clips[frame_px], self.failed = self._decode(frame_px, {})
        listed = set(refs["video_id"].to_pylist())
        for row in unlisted.to_pylist():
            if row["video_id"] not in listed:
                self.failed[row["video_id"]] = f"{row['error']}: {row['message']}"
        self.ids = tuple(self._clips[frame_px])
        if len(self.ids) < _MIN_VIDEOS:
            why = "".join(f"; {name}: {reason}" for name, reason in list(self.failed.items())[:1])
            raise CompressError(
                f"{source.uri}: {len(self.ids)} of {self._refs.num_rows} videos decode, and neighbors need "
                f"{_MIN_VIDEOS}{why}",
                fix="give --videos a folder with more videos that can be decoded",
            )

    def clips(self, frame_px: int) -> list[Clip]:
        """Return the clip of each of `ids` with frames of that size; raises CompressError if one fails."""
        if frame_px not in self._clips:
            clips, failed = self._decode(frame_px, {})
            if set(self.ids) - set(clips):
                # Once more: on a busy machine a long video may time out once and not the next time.
                retried, failed = self._decode(frame_px, {}, without=clips)
                clips |= retried
            if missing := [name for name in self.ids if name not in clips]:
                raise CompressError(
                    f"{len(missing)} videos decode at {self._px} pixels and not at {frame_px}, such as "
                    f"{missing[0]}: {failed[missing[0]]}",
                    fix="set compress.student.frame_px to another size, such as a multiple of 32",
                )
            self._clips[frame_px] = clips
        return [self._clips[frame_px][name] for name in self.ids]

    def distillation_pictures(self) -> DistillationPictures:
        """Return pictures to distill on, with the row in `ids` of each."""
        settings = self._settings
        sample = settings.embed.sample.model_copy(update={"frames": settings.compress.frames})
        clips, _ = self._decode(self._px, {"sample": sample})
        blocks: list[Frames] = []
        rows: list[int] = []
        for row, name in enumerate(self.ids):
            frames = clips[name].frames if name in clips else None
            if frames is not None:
                blocks.append(frames)
                rows += [row] * len(frames)
        return DistillationPictures(np.concatenate(blocks), np.array(rows, np.int64))

    def _decode(
        self, frame_px: int, changes: Mapping[str, object], without: Collection[str] = ()
    ) -> tuple[dict[str, Clip], dict[str, str]]:
        """Return the clips and the errors, both by video id; videos of `without` are not tried."""
        embed = self._settings.embed
        updates = {
            "decode": embed.decode.model_copy(update={"frame_px": frame_px}),
            "audio": embed.audio.model_copy(update={"enabled": False}),
            "moments": None,
        }
        job = EmbedJob("", embed.model_copy(update={**updates, **changes}), "")
        clips: dict[str, Clip] = {}
        failed: dict[str, str] = {}
        with DecodeProcess(job.config.media()) as decoder:
            refs = self._refs.filter([name not in without for name in self._refs["video_id"].to_pylist()])
            for start in range(0, refs.num_rows, job.config.batch_size):
                batch: pa.Table = refs.slice(start, job.config.batch_size)
                for outcome in decode_refs(batch, decoder, job):
                    name = outcome.row["video_id"]
                    if outcome.clip is not None:
                        clips[name] = outcome.clip
                    else:
                        failed[name] = f"{outcome.row['error']}: {outcome.row['message']}"
        return clips, failed


def read_labels(uri: str, ids: Sequence[str]) -> VideoLabels:
    """Read the labels of those `ids` that the CSV file at a path or URI names.

    Its columns are `video_id` (or `file`, whose ending is ignored), `label` and perhaps `source`. Raises
    ConfigError where it cannot be read, lacks a column, or labels none of the videos.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_file(uri).decode(), newline="")))
    except (OSError, SourceError) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(f"compress.labels {uri}: {reason}", fix=_LABELS_FIX) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"compress.labels {uri} is not a CSV file: {error}", fix=_LABELS_FIX) from None
    columns = set(rows[0]) if rows else set()
    name = "video_id" if "video_id" in columns else "file"
    if not {name, "label"} <= columns:
        raise ConfigError(
            f"compress.labels {uri} has the columns {', '.join(sorted(map(str, columns))) or 'of no row'}",
            fix="give it the columns video_id (or file) and label",
        )
    by_id = {row[name]: row for row in rows}
    if name == "file":
        # A file has its ending in its id where another differs in the ending alone.
        by_id = {posixpath.splitext(file)[0]: row for file, row in by_id.items()} | by_id
    known = [(row, by_id[video]) for row, video in enumerate(ids) if video in by_id]
    if not known:
        raise ConfigError(
            f"compress.labels {uri} names none of {len(ids)} videos: it has {next(iter(by_id))}, and the "
            f"catalog {ids[0]}",
            fix="name videos as `vrec embed` does: as in the column video_id of its media/ table",
        )
    sources = tuple(entry["source"] for _, entry in known) if "source" in columns else None
    return VideoLabels(tuple(row for row, _ in known), tuple(entry["label"] for _, entry in known), sources)
