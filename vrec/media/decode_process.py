"""Decoding in a process of its own, so that a hostile file costs one result and a bounded time."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import DecodeCrashed, DecodeTimeout, VideoError, video_errors
from vrec.media.audio import RATE_HZ
from vrec.media.decode import DecodedVideo, MediaConfig
from vrec.media.decode_worker import LENGTH_BYTES
from vrec.media.decoders.frames import DecoderName

GRACE_S = 2.0
"""How long after `timeout_s` the parent waits for the kernel's alarm before it kills the child itself."""
START_S = 60.0
"""How long a child may take to import what it needs on a crowded machine."""
MAX_HEADER_BYTES = 1 << 20
CHANNEL_BYTES = 4 << 20
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class DecodeProcess:
    """One killable child that decodes videos in turn, started when first needed and again when it dies.

    For one thread at a time; each worker has its own.
    """

    def __init__(self, config: MediaConfig) -> None:
        self._config = config
        self._child: _WorkerConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts the child now rather than at the first video; raises RuntimeError where none can start."""
        self._ready()

    @property
    def pid(self) -> int | None:
        """The child's process id, or None where none is running."""
        return self._child.pid if self._child else None

    def decode_many(self, paths: Sequence[str]) -> Iterator[DecodedVideo | VideoError]:
        """One result per path, in order; never raises for a bad video.

        While the caller uses one result the child already decodes the next, and no further: the
        pipe holds it back. Raises RuntimeError where no child can be started at all.
        """
        asked = answered = 0
        retried = -1
        try:
            while answered < len(paths):
                child, fresh = self._ready()
                asked = answered if fresh else asked
                while asked < min(answered + 2, len(paths)):
                    child.submit(paths[asked])
                    asked += 1
                result = child.receive()
                if child.killed_externally and retried != answered:
                    retried = answered  # perhaps the machine's, not the video's fault: once more
                    continue
                answered += 1
                yield result
        finally:
            if asked > answered:  # the caller left early: an answer that nobody will read is under way
                self.close()

    def close(self) -> None:
        """End the child, whatever it is doing."""
        child, self._child = self._child, None
        if child:
            child.end()

    def _ready(self) -> tuple["_WorkerConnection", bool]:
        if self._child is not None and self._child.alive:
            return self._child, False
        self.close()
        self._child = _WorkerConnection(self._config)
        return self._child, True


class _ResultHeader(BaseConfig):
    """What the child says before its arrays. Checked strictly: the child has touched hostile bytes."""

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
    phash: str = Field(pattern=r"^[0-9a-f]{64}$")
    decode_s: float


class _WorkerConnection:
    """The running process and the parent's end of the channel."""

    def __init__(self, config: MediaConfig) -> None:
        self._config = config
        self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        ours, theirs = socket.socketpair()
        # Room for a whole answer, so that the child hands it over in one go and not in dozens of small
        # turns. The kernel gives less where its own limit is lower, which costs only time.
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
            words = self._stderr_file.read()[-2000:].decode(errors="replace").strip()
            self.end()
            raise RuntimeError(f"the decoding process does not start: {words or error}") from None
        self._started = time.monotonic()

    def submit(self, path: str) -> None:
        """Queue one path; a dead child is found out by `answer`."""
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps({"path": path}).encode() + b"\n")

    def receive(self) -> DecodedVideo | VideoError:
        """The next result; where the child dies or overstays, the error that says so."""
        limit_s = self._config.decode.timeout_s
        # The child has worked on this since its last answer was taken, perhaps long ago.
        deadline = max(self._started + limit_s, time.monotonic()) + GRACE_S
        try:
            result = self._result(deadline)
        except TimeoutError:
            self.end()
            return DecodeTimeout(f"decoding took longer than {limit_s:g} s and was stopped")
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
        if code == -signal.SIGALRM:
            limit_s = self._config.decode.timeout_s
            return DecodeTimeout(f"decoding took longer than {limit_s:g} s and was stopped")
        self.killed_externally = code == -signal.SIGKILL
        if self.killed_externally:
            return DecodeCrashed(
                "its decoding process was killed twice (SIGKILL): the machine may lack memory"
            )
        if code is not None and code < 0:
            return DecodeCrashed(f"it crashed the decoder ({_signal_name(-code)})")
        return DecodeCrashed(f"its decoding process ended by itself (code {code})")

    def _result(self, deadline: float) -> DecodedVideo | VideoError:
        said = self._header(deadline)
        if "error" in said:
            kind = video_errors().get(str(said["error"]), VideoError)
            return kind(str(said["message"]), fix=str(said["fix"]))
        header = _ResultHeader.model_validate(said)
        side = self._config.decode.frame_px
        longest = int(self._config.audio.max_s * RATE_HZ)
        if header.frames > self._config.sample.frames or (header.audio or 0) > longest:
            raise ValueError("more than was asked for")
        if len(header.times_s) != header.frames:
            raise ValueError("frames and times differ in number")
        frames = np.empty((header.frames, side, side, 3), np.uint8)
        self._fill(frames.data.cast("B"))
        audio = None
        if header.audio is not None:
            audio = np.empty(header.audio, np.float32)
            if header.audio:
                self._fill(audio.data.cast("B"))
        rest = header.model_dump(exclude={"frames", "audio", "times_s"})
        return DecodedVideo(frames=frames, audio=audio, times_s=np.array(header.times_s, np.float64), **rest)

    def _header(self, deadline: float) -> dict[str, Any]:
        length = bytearray(LENGTH_BYTES)
        self._fill(memoryview(length), deadline)
        size = int.from_bytes(length, "big")
        if size > MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        text = bytearray(size)
        self._fill(memoryview(text))
        return json.loads(text)

    def _fill(self, into: memoryview, deadline: float | None = None) -> None:
        """Receive exactly as much as `into` holds. A child that has begun to answer must keep on."""
        while into.nbytes:
            left_s = GRACE_S if deadline is None else max(0.001, deadline - time.monotonic())
            self._channel.settimeout(left_s)
            count = self._channel.recv_into(into)
            if not count:
                raise EOFError
            into = into[count:]

    def end(self) -> None:
        """Kill and bury the process."""
        self.alive = False
        self._channel.close()
        self._process.kill()
        self._process.wait()
        self._stderr_file.close()


def _environment(threads: int) -> dict[str, str]:
    # The child finds vrec and its libraries where the parent found them, in a Ray worker too.
    paths = [os.path.abspath(path) for path in sys.path]
    pinned = dict.fromkeys(THREAD_SETTINGS, str(threads))
    return {**os.environ, **pinned, "PYTHONPATH": os.pathsep.join(paths)}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
