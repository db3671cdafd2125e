"""Every error that vrec raises on purpose: each names the thing, the reason and the fix."""

from typing import ClassVar


class VrecError(Exception):
    """An error meant for a person to read: what is wrong, with its reason, and how to fix it.

    Subclasses give `fix` as a class attribute where it is always the same; a caller may
    give a more precise one.
    """

    fix: str = "see the message"

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        if fix is not None:
            self.fix = fix

    def __str__(self) -> str:
        return str(self.args[0])


class SchemaError(VrecError):
    """A table is not what its schema says."""

    fix = "give the table the columns and types of docs/tables.md"


class ConfigError(VrecError):
    """A setting is unknown, of the wrong type or out of range."""

    fix = "correct the setting; `vrec COMMAND --help` lists them"


class SourceError(VrecError):
    """The catalogue itself cannot be read: a missing folder, a broken table, no videos in it."""

    fix = "check the path given to --videos"


class OutputError(VrecError):
    """The output folder cannot be written, or holds something that is not vrec's."""

    fix = "give --out a folder that can be written"


class EventsError(VrecError):
    """The events cannot be used: a table that cannot be read, a kind that is unknown, times to come."""

    fix = "check the table given to --events and the columns given to --map"


class FitError(VrecError):
    """A model cannot be fitted on these rows, or asked for this: no rows, weights that are not numbers."""

    fix = "check the interactions that the model is fitted on"


class ModelError(VrecError):
    """A model's folder is missing, damaged, or of another kind than asked for."""

    fix = "fit it again with `vrec fit`"


class RankError(VrecError):
    """A ranker cannot be trained on what it was given, or cannot score it."""

    fix = "check the events and videos that the message names"


class StoreError(VrecError):
    """The store of profiles and events cannot be opened, read or written; nothing is kept by halves."""

    fix = "see that the store's disk or server is there and has room, and send the events again"


class BundleError(VrecError):
    """A bundle cannot be made, is damaged, or does not answer as it did when it was made."""

    fix = "make the bundle again with `vrec bundle`"


class ServeError(VrecError):
    """The service cannot start or do what was asked with this configuration."""

    fix = "check `serve:` in the settings"


class CompressError(VrecError):
    """A network cannot be made smaller: nothing to calibrate or learn on, or numbers that are not finite."""

    fix = "check the videos and settings that the message names"


class EvaluationError(VrecError):
    """An evaluation cannot say anything: nothing to test on, or no support for the estimate."""

    fix = "evaluate on more events, or split them elsewhere"


class VideoError(VrecError):
    """One video cannot be used. It costs one row in FAILURES and nothing else.

    `stage` is where in the pipeline it was found out. `transient` tells whether the same
    bytes may succeed next time; such a row is tried again on the next run.
    """

    stage: ClassVar[str] = "decode"
    transient: ClassVar[bool] = False


class VanishedVideo(VideoError):
    """The file was listed but could not be opened when its turn came."""

    stage = "read"
    transient = True
    fix = "put the file back, or take it out of the catalogue; the next run tries it again"


class UnreachableVideo(VideoError):
    """The file exists but its bytes could not be read: permission, network, not a regular file."""

    stage = "read"
    transient = True
    fix = "make the file readable from every node; the next run tries it again"


class DuplicateVideoId(VideoError):
    """Two rows of the catalogue claim one video_id; the first is kept."""

    stage = "read"
    fix = "give every video an id of its own; in a folder, do not keep a.mp4 beside a.mov"


class EmptyVideo(VideoError):
    """The file has no bytes."""

    stage = "read"
    fix = "upload the file again: it has no content"


class WrongContainer(VideoError):
    """The bytes are not a video: text, HTML, a picture or sound alone under a video's name."""

    fix = "upload the video itself; what lies there is something else"


class UnreadableVideo(VideoError):
    """Neither decoder could read the stream."""

    fix = "re-encode it: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p -c:a aac OUT.mp4"


class NoVideoStream(VideoError):
    """A media file without a moving picture: sound, or sound with a cover."""

    fix = "upload a file with a video stream, or take it out of the catalogue"


class NoFrames(VideoError):
    """The file has a video stream, but not one frame of it decodes."""

    fix = "the file is cut or damaged: upload it again from the original"


class TooShort(VideoError):
    """The video is shorter than `quality.min_duration_s` or has fewer frames than it needs."""

    fix = "upload a longer clip, or lower embed.quality.min_duration_s"


class BlackVideo(VideoError):
    """Every sampled frame is black, or of one flat colour."""

    fix = "upload a clip with a picture, or set embed.quality.refuse_black=false"


class FrozenVideo(VideoError):
    """Every sampled frame is the same picture."""

    fix = "upload a moving clip, or set embed.quality.refuse_frozen=false to embed stills"


class TooLarge(VideoError):
    """The picture has more pixels, or the file more bytes, than the limits allow."""

    fix = "scale the video down, or raise embed.decode.max_pixels or max_bytes"


class DecodeTimeout(VideoError):
    """Decoding took longer than `decode.timeout_s`; its process was killed."""

    transient = True
    fix = "raise embed.decode.timeout_s, or re-encode the video with more keyframes"


class DecodeCrashed(VideoError):
    """Decoding killed its process: a decoder bug, or more memory than `decode.max_memory_mb`."""

    fix = "re-encode it; if it is a sound file, send it to the decoder's maintainers"


class EncodeFailed(VideoError):
    """An encoder refused the clip or gave numbers that are not finite."""

    stage = "encode"
    fix = "report it with the video; the others are embedded"


def video_errors() -> dict[str, type[VideoError]]:
    """Every kind of video error by class name, as FAILURES.error spells it."""
    found: dict[str, type[VideoError]] = {}
    queue: list[type[VideoError]] = [VideoError]
    while queue:
        kind = queue.pop()
        found[kind.__name__] = kind
        queue.extend(kind.__subclasses__())
    return found


def fix_for(error: str) -> str:
    """How to fix a failure, by its class name as FAILURES.error spells it."""
    return video_errors().get(error, VideoError).fix


def os_error_reason(error: OSError) -> str:
    """What the operating system says is wrong, in lower case; the error's own text where it says nothing."""
    return error.strerror.lower() if error.strerror else str(error)
