"""Decoding in a worker process, so that a hostile file costs one result and bounded time."""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Base64Bytes, Field

from vrec.core.config import BaseConfig
from vrec.core.errors import DecodeCrashed, DecodeTimeout, VideoError, video_errors
from vrec.core.threads import THREAD_SETTINGS
from vrec.media.audio import RATE_HZ
from vrec.media.decode import DecodedVideo, MediaConfig
from vrec.media.decode_worker import CPU_TIME_SIGNAL, LENGTH_BYTES, WALL_TIME_SIGNAL
from vrec.media.decoders.frames import DecoderName
from vrec.media.duplicates.fingerprint import decode_fingerprint
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.moments.spans import BLOCK_S, block_limit
from vrec.media.moments.subtitles import Cue, cut_bytes

GRACE_S = 2.0
"""Seconds after `wall_timeout_s` that the parent waits for the kernel's alarm before it kills the worker."""
START_S = 60.0
"""Seconds that a worker may take to import its libraries on a busy machine."""
MAX_HEADER_BYTES = 1 << 20
CHANNEL_BYTES = 4 << 20


_Second = Annotated[float, Field(allow_inf_nan=False)]


class DecodeStartError(RuntimeError):
    """Decoding process that does not start: a fault of the machine or installation, not of a video."""


class DecodeProcess:
    """Killable worker process that decodes videos in turn; started when first needed and after it dies.

    Not thread-safe.
    """

    def __init__(self, config: MediaConfig) -> None:
        self._config = config
        self._worker: _WorkerConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the worker now and not at the first video; raise DecodeStartError where it cannot start."""
        self._ready()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, or None where none is running."""
        return self._worker.pid if self._worker else None

    def decode_many(
        self, paths: Sequence[str], *, frames: int | None = None, subtitles: Sequence[str | None] = ()
    ) -> Iterator[DecodedVideo | VideoError]:
        """Yield one result per path, in order; a bad video gives its VideoError.

        While the caller uses one result, the worker decodes the next one but no further.

        Args:
            paths: Paths of regular files.
            frames: Frames of each video, fewer than the settings say; None for as many as they say.
            subtitles: File of subtitles beside each video, None for none; empty for none at all.

        Raises:
            DecodeStartError: The worker process cannot be started.
        """
        submitted = received = 0
        retried = -1
        try:
            while received < len(paths):
                worker, restarted = self._ready()
                submitted = received if restarted else submitted
                while submitted < min(received + 2, len(paths)):
                    worker.submit(paths[submitted], frames, subtitles[submitted] if subtitles else None)
                    submitted += 1
                result = worker.receive()
                if worker.killed_externally and retried != received:
                    retried = received  # perhaps not the video's fault but the machine's: retry once
                    continue
                received += 1
                yield result
        finally:
            if submitted > received:  # the caller stopped early, so results are pending that nobody will read
                self.close()

    def close(self) -> None:
        """Kill the worker, whatever it is doing."""
        worker, self._worker = self._worker, None
        if worker:
            worker.end()

    def _ready(self) -> tuple["_WorkerConnection", bool]:
        if self._worker is not None and self._worker.alive:
            return self._worker, False
        self.close()
        self._worker = _WorkerConnection(self._config)
        return self._worker, True


class _CueHeader(BaseConfig):
    """Subtitle in a header."""

    start_s: float = Field(allow_inf_nan=False)
    end_s: float = Field(allow_inf_nan=False)
    text: str


class _MomentsHeader(BaseConfig):
    """Part of a header about a video's moments."""

    spans: list[tuple[_Second, _Second]]
    sound_spans: list[tuple[_Second, _Second]]
    sound: int = Field(ge=0)
    cues: list[_CueHeader]


class _ResultHeader(BaseConfig):
    """Header of a result. Validated strictly, because the worker has read hostile bytes."""

    frames: int = Field(ge=1)
    audio: int | None = Field(ge=0)
    times_s: list[float]
    width: int
    height: int
    fps: float | None
    duration_s: float | None
    decoder: DecoderName
    note: str | None
    has_audio: bool
    fingerprint: Base64Bytes | None
    decode_s: float
    moments: _MomentsHeader | None


class _WorkerConnection:
    """Running worker process and the parent's end of its channel."""

    def __init__(self, config: MediaConfig) -> None:
        self._config = config
        self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        ours, theirs = socket.socketpair()
        # Room for a whole result, so that the worker sends it in one call and not in dozens of small ones.
        # The kernel's own limit may be lower, which only costs time.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
        self._channel = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "vrec.media.decode_worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=_environment(config.decode.threads),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr_file,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        self.alive = True
        self.killed_externally = False
        self._started = time.monotonic()
        self._handshake()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _handshake(self) -> None:
        try:
            self._channel.sendall(self._config.model_dump_json().encode() + b"\n")
            self._header(self._started + START_S)
        except (OSError, EOFError, ValueError) as error:
            self._process.kill()
            self._process.wait()
            self._stderr_file.seek(0)
            stderr = self._stderr_file.read()[-2000:].decode(errors="replace").strip()
            self.end()
            raise DecodeStartError(f"the decoding process does not start: {stderr or error}") from None
        self._started = time.monotonic()

    def submit(self, path: str, frames: int | None, subtitles: str | None) -> None:
        """Queue one path; `receive` reports a dead worker."""
        request = {"path": path, "frames": frames, "subtitles": subtitles}
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(request).encode() + b"\n")

    def receive(self) -> DecodedVideo | VideoError:
        """Return the next result, or the error for a worker that died or took too long."""
        limit_s = self._config.decode.wall_timeout_s
        # The worker may have started on this long ago, when its previous result was received.
        deadline = max(self._started + limit_s, time.monotonic()) + GRACE_S
        try:
            result = self._result(deadline)
        except TimeoutError:
            self.end()
            return self._wall_timeout()
        except (OSError, EOFError):
            return self._exit_error()
        except (ValueError, TypeError):
            self.end()
            return DecodeCrashed("the decoding process gave a malformed answer")
        self._started = time.monotonic()
        return result

    def _exit_error(self) -> VideoError:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        self.end()
        if code == -WALL_TIME_SIGNAL:
            return self._wall_timeout()
        if code == -CPU_TIME_SIGNAL:
            limit_s = self._config.cpu_limit_s
            return DecodeTimeout(f"decoding took more than {limit_s:g} s of CPU time and was stopped")
        self.killed_externally = code == -signal.SIGKILL
        if self.killed_externally:
            return DecodeCrashed(
                "its decoding process was killed twice (SIGKILL): the machine may lack memory"
            )
        if code is not None and code < 0:
            return DecodeCrashed(f"it crashed the decoder ({_signal_name(-code)})")
        return DecodeCrashed(f"its decoding process ended by itself (code {code})")

    def _wall_timeout(self) -> DecodeTimeout:
        limits = self._config.decode
        return DecodeTimeout(
            f"decoding did not end within {limits.wall_timeout_s:g} s and had used less than its "
            f"{self._config.cpu_limit_s:g} s of CPU time: the machine or its disk is overloaded",
            fix="run fewer workers, or raise embed.decode.wall_timeout_s; the next run tries it again",
        )

    def _result(self, deadline: float) -> DecodedVideo | VideoError:
        fields = self._header(deadline)
        if "error" in fields:
            kind = video_errors().get(str(fields["error"]), VideoError)
            return kind(str(fields["message"]), fix=str(fields["fix"]))
        header = _ResultHeader.model_validate(fields)
        side = self._config.decode.frame_px
        max_samples = int(self._config.audio.max_s * RATE_HZ)
        if header.frames > self._config.sample.frames or (header.audio or 0) > max_samples:
            raise ValueError("more frames or samples than requested")
        if len(header.times_s) != header.frames:
            raise ValueError("frames and times differ in number")
        frames = np.empty((header.frames, side, side, 3), np.uint8)
        self._receive_into(frames.data.cast("B"))
        audio = None
        if header.audio is not None:
            audio = np.empty(header.audio, np.float32)
            if header.audio:
                self._receive_into(audio.data.cast("B"))
        if header.fingerprint is not None:
            decode_fingerprint(header.fingerprint)  # raises ValueError where it is none
        moments = None if header.moments is None else self._moments(header.moments)
        fields = header.model_dump(exclude={"frames", "audio", "times_s", "fingerprint", "moments"})
        return DecodedVideo(
            frames=frames,
            audio=audio,
            times_s=np.array(header.times_s, np.float64),
            fingerprint=header.fingerprint,
            moments=moments,
            **fields,
        )

    def _moments(self, header: "_MomentsHeader") -> DecodedMoments:
        config = self._config.moments
        if config is None:
            raise ValueError("moments that were not requested")
        # An edge of a block and the end of a file may each add one.
        most = math.ceil(config.up_to_s / BLOCK_S + 2) * block_limit(config)
        if max(len(header.spans), len(header.sound_spans)) > most:
            raise ValueError("more moments than requested")
        if header.sound > math.ceil(config.up_to_s * RATE_HZ):
            raise ValueError("more samples than requested")
        frames = sound = None
        if header.spans:
            side = self._config.decode.frame_px
            frames = np.empty((len(header.spans), side, side, 3), np.uint8)
            self._receive_into(frames.data.cast("B"))
        if header.sound:
            sound = np.empty(header.sound, np.float32)
            self._receive_into(sound.data.cast("B"))
        return DecodedMoments(
            spans=np.array(header.spans, np.float64).reshape(-1, 2),
            frames=frames,
            sound_spans=np.array(header.sound_spans, np.float64).reshape(-1, 2),
            sound=sound,
            cues=tuple(Cue(cue.start_s, cue.end_s, cut_bytes(cue.text)) for cue in header.cues),
        )

    def _header(self, deadline: float) -> dict[str, Any]:
        length = bytearray(LENGTH_BYTES)
        self._receive_into(memoryview(length), deadline)
        size = int.from_bytes(length, "big")
        if size > MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        text = bytearray(size)
        self._receive_into(memoryview(text))
        return json.loads(text)

    def _receive_into(self, buffer: memoryview, deadline: float | None = None) -> None:
        """Fill `buffer` from the channel. Without a deadline each read may take GRACE_S."""
        while buffer.nbytes:
            timeout_s = GRACE_S if deadline is None else max(0.001, deadline - time.monotonic())
            self._channel.settimeout(timeout_s)
            count = self._channel.recv_into(buffer)
            if not count:
                raise EOFError
            buffer = buffer[count:]

    def end(self) -> None:
        """Kill the process and release its resources."""
        self.alive = False
        self._channel.close()
        self._process.kill()
        self._process.wait()
        self._stderr_file.close()


def _environment(threads: int) -> dict[str, str]:
    # The worker finds vrec and its libraries where the parent found them, in a Ray worker too.
    paths = [os.path.abspath(path) for path in sys.path]
    pinned = dict.fromkeys(THREAD_SETTINGS, str(threads))
    return {**os.environ, **pinned, "PYTHONPATH": os.pathsep.join(paths)}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
