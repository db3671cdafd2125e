"""Stages of `vrec embed` on workers, as plain callables on Arrow tables: decode, encode, checkpoint."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.errors import (
    DecodeFailed,
    EncodeFailed,
    ReadFailed,
    VideoError,
    as_video_error,
    guard,
)
from vrec.core.masking import mask_credentials
from vrec.core.tables import StorageFolder
from vrec.core.types import Clip, VideoRef
from vrec.encoders.build import EncoderSet, build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MomentEncoder
from vrec.encoders.view_check import ViewCheck
from vrec.media.decode import DecodedVideo
from vrec.media.decode_process import DecodeProcess, DecodeStartError
from vrec.media.moments import subtitles
from vrec.media.source import LocalVideo, local_copy
from vrec.pipelines.embed.checkpoints import PART, build_part, part_name
from vrec.pipelines.embed.moments import moments_columns, pack_moments, unpack_moments
from vrec.pipelines.embed.outcomes import (
    ClipEncoders,
    Vectors,
    VideoOutcome,
    check_views,
    encode_moments,
    encode_outcomes,
    record_failure,
    summarize,
)

PART_METADATA = [name for name in PART.names if not name.startswith(("vector_", "moments_"))]
"""Columns of PART without the vectors."""

DECODED = pa.schema(
    [
        *(PART.field(name) for name in PART_METADATA),
        pa.field("read_s", pa.float64()),
        pa.field("text", pa.string()),
        pa.field("pixels", pa.large_binary()),
        pa.field("wave", pa.large_binary()),
        *moments_columns(),
    ]
)
"""Rows between the stages of the split layout: a video's metadata, uint8 frames and float32 sound as bytes.

`pixels` has the shape (T, S, S, 3), `wave` (samples,); the last columns are those of `moments_columns`.
"""

_REF_COLUMNS = ("video_id", "uri", "text_hash", "recipe", "content_hash")
_NOTHING_DECODED: dict[str, Any] = {"frames": 0, "has_audio": False, "decode_s": 0.0, "encode_s": 0.0}


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """Description of a run for its workers."""

    out: str
    """The folder that parts are written to."""
    config: EmbedConfig
    recipe: str
    """Digest of all that changes a video's row."""

    def encoders(self, device: str) -> ClipEncoders:
        """Load the encoders on a device, `cpu` or `cuda`."""
        return build_encoders(self.config.encoders, device=device)

    def moment_encoder(self, encoders: ClipEncoders, device: str) -> MomentEncoder | None:
        """Load the encoder of moments beside those of videos; None where no moments are wanted."""
        if self.config.moments is None or not isinstance(encoders, EncoderSet):
            return None
        return MomentEncoder(encoders, self.config.moments, device)

    def view_check(self, encoders: ClipEncoders) -> ViewCheck | None:
        """Build the check for doctored frames; None where none is wanted."""
        if self.config.checks is None or not isinstance(encoders, EncoderSet):
            return None
        return ViewCheck(encoders, self.config.checks)


class FusedEmbedder:
    """Stage from REFS to SUMMARY: decode in a child process, encode here, write one part per batch."""

    def __init__(self, job: EmbedJob) -> None:
        self._job = job
        self._folder = StorageFolder(job.out)
        self._decoder = DecodeProcess(job.config.media())
        # The child starts up while this process loads its models.
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(self._decoder.start)
            self._encoders = job.encoders("cpu")
            self._moments = job.moment_encoder(self._encoders, "cpu")
            self._check = job.view_check(self._encoders)
            warm_up(self._encoders, job.config)
            started.result()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Decode, encode and checkpoint a batch of REFS; return one SUMMARY row."""

        def run() -> tuple[list[VideoOutcome], list[Vectors]]:
            outcomes, vectors = [], []
            for outcome in decode_refs(batch, self._decoder, self._job):
                vectors.extend(encode_outcomes([outcome], self._encoders))
                check_views(outcome, vectors[-1], self._check)
                encode_moments(outcome, self._moments)
                # The picture is not needed any more, and a batch of long clips' sound is large.
                outcome.clip = None
                outcomes.append(outcome)
            return outcomes, vectors

        return commit_part(batch["video_id"].to_pylist(), self._job.recipe, self._folder, run)


class DecodeStage:
    """Stage from REFS to DECODED: the first half of the split layout, on CPUs."""

    def __init__(self, job: EmbedJob) -> None:
        self._job = job
        self._decoder = DecodeProcess(job.config.media())

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Decode a batch of REFS; return one DECODED row per video, in order."""
        return _decoded_table(list(decode_refs(batch, self._decoder, self._job)))


class EncodeStage:
    """Stage from DECODED to SUMMARY: the second half of the split layout, on a GPU if Ray assigns one."""

    def __init__(self, job: EmbedJob) -> None:
        self._job = job
        device = "cuda" if os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu"
        self._encoders = job.encoders(device)
        self._moments = job.moment_encoder(self._encoders, device)
        self._check = job.view_check(self._encoders)
        warm_up(self._encoders, job.config)
        self._folder = StorageFolder(job.out)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Encode and checkpoint a batch of DECODED rows; return one SUMMARY row."""
        outcomes = [self._outcome(row) for row in batch.to_pylist()]

        def run() -> tuple[list[VideoOutcome], list[Vectors]]:
            vectors = encode_outcomes(outcomes, self._encoders)
            for outcome, found in zip(outcomes, vectors, strict=True):
                check_views(outcome, found, self._check)
                encode_moments(outcome, self._moments)
            return outcomes, vectors

        ids = [o.row["video_id"] for o in outcomes]
        return commit_part(ids, self._job.recipe, self._folder, run)

    def _outcome(self, decoded: dict[str, Any]) -> VideoOutcome:
        outcome = VideoOutcome({name: decoded[name] for name in PART_METADATA}, read_s=decoded["read_s"])
        if decoded["pixels"] is not None:
            clip = guard(EncodeFailed, functools.partial(self._clip, decoded))
            if isinstance(clip, VideoError):
                record_failure(outcome.row, clip)
            else:
                outcome.clip = clip
                outcome.decoded_moments = unpack_moments(decoded, self._job.config.decode.frame_px)
        return outcome

    def _clip(self, decoded: dict[str, Any]) -> Clip:
        px = self._job.config.decode.frame_px
        pixels = np.frombuffer(decoded["pixels"], np.uint8).reshape(-1, px, px, 3)  # (T, S, S, 3)
        wave = None if decoded["wave"] is None else np.frombuffer(decoded["wave"], np.float32)
        return Clip(decoded["video_id"], pixels, wave, decoded["text"])


def _decoded_table(outcomes: Sequence[VideoOutcome]) -> pa.Table:
    """Return DECODED rows; an outcome that fits no row is replaced by its failure."""

    def table(some: Sequence[VideoOutcome]) -> pa.Table:
        return pa.Table.from_pylist([_decoded_row(outcome) for outcome in some], schema=DECODED)

    return _each_that_fits(outcomes, table, DecodeFailed)


def _decoded_row(outcome: VideoOutcome) -> dict[str, Any]:
    row = outcome.row | {"read_s": outcome.read_s}
    if (clip := outcome.clip) is not None:
        row["text"] = clip.text
        row["pixels"] = None if clip.frames is None else clip.frames.tobytes()
        row["wave"] = None if clip.audio is None else clip.audio.tobytes()
    return row | pack_moments(outcome.decoded_moments)


def _each_that_fits(
    outcomes: Sequence[VideoOutcome],
    build: Callable[[Sequence[VideoOutcome]], pa.Table],
    kind: type[VideoError],
) -> pa.Table:
    """Return a table of outcomes; where that cannot be built, the outcomes at fault become failures."""
    whole = guard(kind, functools.partial(build, outcomes))
    if not isinstance(whole, VideoError):
        return whole
    if len(outcomes) > 1:
        return pa.concat_tables(_each_that_fits([outcome], build, kind) for outcome in outcomes)
    (outcome,) = outcomes
    outcome.row = {name: value for name, value in outcome.row.items() if name in _REF_COLUMNS}
    outcome.row |= _NOTHING_DECODED
    outcome.clip, outcome.decoded_moments, outcome.moments = None, None, {}
    record_failure(outcome.row, whole)
    return build(outcomes)


def warm_up(encoders: ClipEncoders, config: EmbedConfig) -> None:
    """Encode a second of noise, so that what libraries do at first use counts as start-up."""
    px, noise = config.decode.frame_px, np.random.default_rng(0)
    frames = noise.integers(0, 255, (config.sample.frames, px, px, 3), np.uint8)
    encoders.encode([Clip("warm-up", frames, noise.normal(0, 0.1, 16_000).astype(np.float32), "warm")])


def decode_refs(batch: pa.Table, decoder: DecodeProcess, job: EmbedJob) -> Iterator[VideoOutcome]:
    """Yield the outcome of each REFS row, in order; that of a failed video has the error in its row.

    Raises DecodeStartError where the decoding process cannot be started.
    """
    refs = batch.to_pylist()
    with contextlib.ExitStack() as copies, ThreadPoolExecutor(4) as pool:
        fetched = list(pool.map(lambda r: _fetch(r, job, copies), refs))
        usable = [(video.path, beside) for video, _, beside in fetched if isinstance(video, LocalVideo)]
        decoded = _decode_each(decoder, usable)
        for ref, (video, read_s, _) in zip(refs, fetched, strict=True):
            row = {"video_id": ref["video_id"], "uri": mask_credentials(ref["uri"])}
            row |= {"text_hash": ref["text_hash"], "recipe": job.recipe}
            outcome = VideoOutcome(row | _NOTHING_DECODED, read_s=read_s)
            result: DecodedVideo | VideoError
            if isinstance(video, LocalVideo):
                outcome.row["content_hash"] = video.content_hash
                result = next(decoded)
            else:
                result = video
            _add_decoded(outcome, ref["text"], result)
            yield outcome


def _fetch(
    ref: dict[str, Any], job: EmbedJob, copies: contextlib.ExitStack
) -> tuple[LocalVideo | VideoError, float, str | None]:
    """Return a local copy of a video, the seconds that it took, and the path of its subtitles."""
    start = time.perf_counter()

    def copy() -> LocalVideo:
        video = VideoRef(ref["video_id"], ref["uri"])
        return copies.enter_context(local_copy(video, job.config.decode.max_bytes))

    video, beside = guard(ReadFailed, copy), None
    if ref["subtitles"] and isinstance(video, LocalVideo):
        # Without them it has no words, and everything else.
        with contextlib.suppress(VideoError):
            sidecar = local_copy(VideoRef(ref["video_id"], ref["subtitles"]), subtitles.MAX_BYTES)
            beside = copies.enter_context(sidecar).path
    return video, time.perf_counter() - start, beside


def _decode_each(
    decoder: DecodeProcess, videos: Sequence[tuple[str, str | None]]
) -> Iterator[DecodedVideo | VideoError]:
    """Yield one result per path and its subtitles; what decoding one raises is the result of that one."""
    done = 0
    while done < len(videos):
        try:
            paths, besides = zip(*videos[done:], strict=True)
            results = (
                decoder.decode_many(paths, subtitles=besides) if any(besides) else decoder.decode_many(paths)
            )
            for result in results:
                done += 1
                yield result
        except DecodeStartError:
            # No video's fault: all of them would fail.
            raise
        except Exception as error:
            done += 1
            yield as_video_error(error, DecodeFailed)


def _add_decoded(outcome: VideoOutcome, text: str | None, result: DecodedVideo | VideoError) -> None:
    if not isinstance(result, VideoError):
        described = guard(DecodeFailed, functools.partial(_describe, result))
        if not isinstance(described, VideoError):
            outcome.row |= described
            outcome.clip = Clip(outcome.row["video_id"], result.frames, result.audio, text)
            outcome.decoded_moments = result.moments
            return
        result = described
    record_failure(outcome.row, result)


def _describe(decoded: DecodedVideo) -> dict[str, Any]:
    return {
        "decoder": decoded.decoder,
        "width": decoded.width,
        "height": decoded.height,
        "fps": decoded.fps,
        "duration_s": decoded.duration_s,
        "frames": len(decoded.frames),
        "has_audio": decoded.has_audio,
        "fingerprint": decoded.fingerprint,
        "note": decoded.note,
        "decode_s": decoded.decode_s,
    }


def commit_part(
    video_ids: Sequence[str],
    recipe: str,
    folder: StorageFolder,
    run: Callable[[], tuple[list[VideoOutcome], list[Vectors]]],
) -> pa.Table:
    """Write the part of these videos, unless it exists already, and return its SUMMARY row.

    It exists when Ray repeats a task whose worker died after writing and before answering.

    Args:
        video_ids: the ids of the batch.
        recipe: the recipe of the run.
        folder: the folder to write to.
        run: decodes and encodes the batch: outcomes and their vectors, in order.
    """
    began_at, name = time.time(), part_name(recipe, video_ids)
    if folder.exists(name):
        rows = folder.read_arrow(name).select(PART_METADATA).to_pylist()
        return summarize(name, rows, began_at=began_at, read_s=0.0, write_s=0.0)
    outcomes, vectors = run()
    by_id = {o.row["video_id"]: v for o, v in zip(outcomes, vectors, strict=True)}

    def build(some: Sequence[VideoOutcome]) -> pa.Table:
        failed = [o.row.get("error") is not None for o in some]
        found = [{} if bad else by_id[o.row["video_id"]] for o, bad in zip(some, failed, strict=True)]
        return build_part(
            [o.row for o in some], found, [{} if o.row.get("error") else o.moments for o in some]
        )

    part = _each_that_fits(outcomes, build, EncodeFailed)
    rows, read_s = [o.row for o in outcomes], sum(o.read_s for o in outcomes)
    start = time.perf_counter()
    folder.write_arrow(name, part)
    return summarize(name, rows, began_at=began_at, read_s=read_s, write_s=time.perf_counter() - start)
