"""Decoding of what moments have beside their pictures: sound and subtitles."""

from collections.abc import Sequence

import av.error
import numpy as np

from vrec.core.types import Waveform
from vrec.media.audio import RATE_HZ, AudioConfig, DecodedAudio, decode_audio
from vrec.media.decoders.container import OpenVideo, reopen_container
from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.decoded import DecodedMoments, no_spans
from vrec.media.moments.sound import align_sound, sound_spans
from vrec.media.moments.subtitles import Cue, bound_cues, read_embedded
from vrec.media.moments.watcher import MomentWatcher


def decode_moments(
    media: OpenVideo,
    config: MomentSpansConfig,
    watcher: MomentWatcher,
    *,
    audio: DecodedAudio,
    audio_config: AudioConfig,
    cues: Sequence[Cue],
) -> tuple[DecodedMoments, str | None]:
    """Decode the moments of a video whose pictures were watched, and a note where they end early.

    Args:
        media: Open video.
        config: Cuts, and how much of the video to cut.
        watcher: Watcher that has seen the pictures.
        audio: Sound that was decoded already.
        audio_config: Settings with which it was decoded.
        cues: Subtitles of a file beside the video.
    """
    spans, frames = watcher.finish()
    end_s = media.duration_s or (float(spans[-1, 1]) if len(spans) else 0.0)
    up_to_s = min(end_s, config.up_to_s)
    sound = _whole_sound(media, audio_config, audio, up_to_s)
    found = list(cues)
    if config.subtitles and not found:
        found = _embedded(media)
    moments = DecodedMoments(
        spans=spans,
        frames=frames,
        sound_spans=no_spans() if sound is None else sound_spans(sound, config),
        sound=sound,
        # A still has an end too: its words are not lost.
        cues=bound_cues(found, max(up_to_s, 1.0)),
    )
    stopped_s = watcher.stopped_s
    if stopped_s is None and end_s > config.up_to_s:
        stopped_s = config.up_to_s
    note = None if stopped_s is None else f"its moments end after {stopped_s:.1f} s of {end_s:.1f} s"
    return moments, note


def _whole_sound(
    media: OpenVideo, config: AudioConfig, audio: DecodedAudio, up_to_s: float
) -> Waveform | None:
    """Return the samples from the first frame on; what was decoded is used again if it is all of it."""
    samples = audio.samples
    if samples is None or not up_to_s:
        return None
    needed_s = up_to_s - audio.offset_s
    if len(samples) >= int(config.max_s * RATE_HZ) and needed_s > config.max_s:
        longer = config.model_copy(update={"max_s": needed_s})
        starts_s = float(media.timeline.times_s[0]) if media.timeline.seekable else None
        with reopen_container(media.source) as container:
            samples = decode_audio(container, longer, None, starts_s).samples
    if samples is None:
        return None
    aligned = align_sound(samples, audio.offset_s)[: int(up_to_s * RATE_HZ)]
    return np.ascontiguousarray(aligned) if len(aligned) else None


def _embedded(media: OpenVideo) -> list[Cue]:
    if not media.container.streams.subtitles:
        return []
    first_s = float(media.timeline.times_s[0]) if media.timeline.seekable else 0.0
    try:
        with reopen_container(media.source) as container:
            return read_embedded(container, first_s)
    except (av.error.FFmpegError, ValueError):
        return []
