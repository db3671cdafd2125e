"""Decode worker: `python -m vrec.media.decode_worker FD`, started by `vrec.media.decode_process`.

It reads hostile bytes, so it receives paths and sends JSON and raw arrays: nothing that it sends can
make the parent run code. It imports only what decoding needs, and so not torch.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from base64 import b64encode
from dataclasses import asdict
from typing import Any

from vrec.core.errors import DecodeCrashed, VideoError
from vrec.media.decode import DecodedVideo, MediaConfig, decode
from vrec.media.moments.subtitles import read_sidecar_file

LENGTH_BYTES = 4
HEARTBEAT_S = 1.0
CPU_TIME_SIGNAL = signal.SIGPROF
"""Signal that ends a decode after `decode.timeout_s` of CPU time."""
WALL_TIME_SIGNAL = signal.SIGALRM
"""Signal that ends a decode after `decode.wall_timeout_s` by the clock."""


def main(descriptor: int) -> None:
    """Serve decode requests until the parent exits."""
    channel = socket.socket(fileno=descriptor)
    threading.Thread(target=_exit_with_parent, args=(channel, os.getppid()), daemon=True).start()
    for number in (CPU_TIME_SIGNAL, WALL_TIME_SIGNAL):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {CPU_TIME_SIGNAL, WALL_TIME_SIGNAL})
    requests = channel.makefile("rb")
    config = MediaConfig.model_validate_json(requests.readline())
    _limit_memory(config.decode.max_memory_mb)
    _send(channel, {"ready": os.getpid()})
    for line in requests:
        # The default action of both timers' signals ends the process even where native code never returns.
        signal.setitimer(signal.ITIMER_PROF, config.cpu_limit_s)
        signal.setitimer(signal.ITIMER_REAL, config.decode.wall_timeout_s)
        request = json.loads(line)
        header, arrays = _decode_response(
            request["path"], _with_frames(config, request["frames"]), request["subtitles"]
        )
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(channel, header, *arrays)


def _with_frames(config: MediaConfig, frames: int | None) -> MediaConfig:
    if frames is None:
        return config
    return config.model_copy(update={"sample": config.sample.model_copy(update={"frames": frames})})


def _decode_response(
    path: str, config: MediaConfig, subtitles: str | None
) -> tuple[dict[str, Any], tuple[memoryview, ...]]:
    try:
        cues = read_sidecar_file(subtitles) if subtitles and config.moments else []
        return _pack(decode(path, config, cues))
    except MemoryError:
        error: VideoError = DecodeCrashed("it needs more memory than decode.max_memory_mb")
    except VideoError as caught:
        error = caught
    except Exception as caught:
        error = DecodeCrashed(f"the decoder failed in a way it should not: {type(caught).__name__}: {caught}")
    return {"error": type(error).__name__, "message": str(error), "fix": error.fix}, ()


def _pack(video: DecodedVideo) -> tuple[dict[str, Any], tuple[memoryview, ...]]:
    header: dict[str, Any] = {
        "frames": video.frames.shape[0],
        "audio": None if video.audio is None else len(video.audio),
        "times_s": video.times_s.tolist(),
        "width": video.width,
        "height": video.height,
        "fps": video.fps,
        "duration_s": video.duration_s,
        "decoder": video.decoder,
        "note": video.note,
        "has_audio": video.has_audio,
        "fingerprint": None if video.fingerprint is None else b64encode(video.fingerprint).decode(),
        "decode_s": video.decode_s,
        "moments": None,
    }
    arrays = [video.frames.data.cast("B")]
    if video.audio is not None and len(video.audio):
        arrays.append(video.audio.data.cast("B"))
    moments = video.moments
    if moments is not None:
        header["moments"] = {
            "spans": moments.spans.tolist(),
            "sound_spans": moments.sound_spans.tolist(),
            "sound": 0 if moments.sound is None else len(moments.sound),
            "cues": [asdict(cue) for cue in moments.cues],
        }
        arrays += [array.data.cast("B") for array in (moments.frames, moments.sound) if array is not None]
    return header, tuple(arrays)


def _send(channel: socket.socket, header: dict[str, Any], *arrays: memoryview) -> None:
    text = json.dumps(header).encode()
    channel.sendall(len(text).to_bytes(LENGTH_BYTES, "big") + text)
    for array in arrays:
        channel.sendall(array)


def _limit_memory(megabytes: int) -> None:
    limit = megabytes * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _exit_with_parent(channel: socket.socket, parent: int) -> None:
    """Exit when the parent is gone, whatever the main thread is decoding.

    The kernel's parent-death signal fires when the *thread* that started the process ends, and Ray
    runs tasks in threads that come and go.
    """
    poll = select.poll()
    poll.register(channel, select.POLLRDHUP)
    while os.getppid() == parent:
        if poll.poll(HEARTBEAT_S * 1000):
            break
    os._exit(0)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
