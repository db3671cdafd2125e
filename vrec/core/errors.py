"""Errors that vrec raises on purpose; each names the problem, the reason and the fix."""

import re
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from vrec.core.masking import mask_credentials

T = TypeVar("T")
_FULL_DISK = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
MAX_MESSAGE_CHARS = 500
"""Characters of another library's message that an error repeats."""


class VrecError(Exception):
    """Error with a message for people: the problem, its reason, and a fix.

    Subclasses set `fix` as a class attribute where it is always the same; the caller may pass a
    more precise one. Credentials inside URIs are masked in both.
    """

    fix: str = "see the message"

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(mask_credentials(message))
        if fix is not None:
            self.fix = mask_credentials(fix)

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the class is called with the message alone; some take further arguments.
        return Exception.__new__, (type(self), *self.args), vars(self)


class SchemaError(VrecError):
    """Table that does not match its schema."""

    fix = "give the table the columns and types of docs/tables.md"


class ConfigError(VrecError):
    """Setting that is unknown, of the wrong type or out of range."""

    fix = "correct the setting; docs/settings.md and `python -m vrec.config.reference` list all"


class SourceError(VrecError):
    """Catalog that cannot be read: a missing folder, a damaged table, no videos."""

    fix = "check the path given to --videos"


class OutputError(VrecError):
    """Output folder that cannot be written or holds files that vrec did not write."""

    fix = "give --out a folder that can be written"

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        # Here and not where a write fails: of an error inside a Ray Data function only the message arrives.
        if fix is None and _FULL_DISK.search(message):
            fix = "make room there, or name another folder, then run the same command again"
        super().__init__(message, fix=fix)


class EventsError(VrecError):
    """Events that cannot be used: an unreadable table, an unknown kind, times in the future."""

    fix = "check the table given to --events and the columns given to --map"


class GateError(VrecError):
    """Data at fault, before a fit or a bundle."""

    fix = (
        "correct the data (`vrec check` lists all), or set events.gates.policy to cut or warn; after a "
        "change that is meant, one run with warn takes it for good"
    )


class DataWarning(UserWarning):
    """Data that can be used and is probably not what its owner means; the commands print it."""


class FitError(VrecError):
    """Rows or request that a model cannot use: no rows, weights that are not numbers, k below 1."""

    fix = "check the interactions that the model is fitted on"


class PrivacyError(VrecError):
    """Privacy that cannot be given: a spent budget, a damaged ledger, a model without a private form."""

    fix = "see docs/privacy.md"


class FederatedError(VrecError):
    """Federated fit that cannot go on: too few clients, or one whose contribution cannot be used."""

    fix = "see docs/federated.md"


class FitTimeout(FitError):
    """Time that ran out before a model was fitted, or a network had been trained for one epoch."""

    fix = "give the fit more time"


class UnknownModel(ConfigError, FitError):
    """Name of a recommender that does not exist."""


class ModelError(VrecError):
    """Model folder that is missing, damaged, or of another kind than requested."""

    fix = "fit it again with `vrec fit`"


class RankError(VrecError):
    """Data that a ranker cannot be trained on or cannot score."""

    fix = "check the events and videos that the message names"


class StoreError(VrecError):
    """Profile store that cannot be opened, read or written; no write is applied partially."""

    fix = "see that the store's disk or server is there and has room, and send the events again"


class UnknownEvent(VrecError):
    """Id of an event that the store never had."""

    fix = "give the event_id with which the event was sent"


class SessionTaken(VrecError):
    """Session that belongs to another account already."""

    fix = "join a session to the one account that logged in, and begin another session for the next visitor"


class BundleError(VrecError):
    """Bundle that cannot be written, is damaged, or no longer gives its recorded responses."""

    fix = "make the bundle again with `vrec bundle`"


class ServeError(VrecError):
    """Service that cannot start or carry out a request with its configuration."""

    fix = "check `serve:` in the settings"


class CompressError(VrecError):
    """Network that cannot be compressed: no data to train on, or values that are not finite."""

    fix = "check the videos and settings that the message names"


class EvaluationError(VrecError):
    """Evaluation without a result: nothing to test on, or no support for the estimate."""

    fix = "evaluate on more events, or split them elsewhere"


class VideoError(VrecError):
    """Video that cannot be used; it becomes one row of FAILURES, and the other videos continue.

    `stage` is the pipeline stage that failed. `transient` says whether the same bytes may succeed
    next time; such a row is retried on the next run.
    """

    stage: ClassVar[str] = "decode"
    transient: ClassVar[bool] = False


class UnlistedVideo(VideoError):
    """Row or file of a catalog that cannot be listed: no id, no uri, a name that is not UTF-8."""

    stage = "list"
    transient = True
    fix = "correct this row of the catalog; the next run tries it again"


class ReadFailed(VideoError):
    """File whose reading failed in a way that no other class names."""

    stage = "read"
    transient = True
    fix = "see the message; the next run tries it again"


class DecodeFailed(VideoError):
    """Video whose decoding failed in a way that no other class names."""

    transient = True
    fix = "report it with the video; the next run tries it again"


class VanishedVideo(VideoError):
    """File that was listed but is gone when its turn comes."""

    stage = "read"
    transient = True
    fix = "put the file back, or take it out of the catalog; the next run tries it again"


class UnreachableVideo(VideoError):
    """File whose bytes cannot be read: permission, network, not a regular file."""

    stage = "read"
    transient = True
    fix = "make the file readable from every node; the next run tries it again"


class PlaylistError(VideoError):
    """HLS playlist that is none, or that cannot be followed, such as one of encrypted segments."""

    stage = "read"
    transient = True
    fix = "give an HLS playlist (.m3u8) of segments that are not encrypted"


class PlaylistStalled(VideoError):
    """HLS playlist that has ended, or to which nothing was added for long."""

    stage = "read"
    transient = True
    fix = "see that the encoder of the stream still writes segments"


class SourceRefused(VideoError):
    """URI of a stream, or of what its playlist names, that the service may not read."""

    stage = "read"
    transient = True
    fix = "ask the operator to add its folder or its https://host/ to serve.security.media_roots"


class DuplicateVideoId(VideoError):
    """Second row of a catalog with the same video_id; the first is used."""

    stage = "read"
    fix = "give every video an id of its own"


class EmptyVideo(VideoError):
    """File without bytes."""

    stage = "read"
    fix = "upload the file again: it has no content"


class WrongContainer(VideoError):
    """File that is not a video but text, HTML, a picture or unknown bytes under a video's name."""

    fix = "upload the video itself; what lies there is something else"


class UnreadableVideo(VideoError):
    """Stream that neither decoder can read."""

    fix = "re-encode it: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p -c:a aac OUT.mp4"


class NoVideoStream(VideoError):
    """Media file without a video stream: audio, or audio with a cover picture."""

    fix = "upload a file with a video stream, or take it out of the catalog"


class NoFrames(VideoError):
    """Video stream of which no frame decodes."""

    fix = "the file is cut or damaged: upload it again from the original"


class TooShort(VideoError):
    """Video shorter than `quality.min_duration_s` or with fewer frames than `quality.min_frames`."""

    fix = "upload a longer clip, or lower embed.quality.min_duration_s"


class BlackVideo(VideoError):
    """Video whose sampled frames are all black, or all of one flat color."""

    fix = "upload a clip with a picture, or set embed.quality.refuse_black=false"


class FrozenVideo(VideoError):
    """Video whose sampled frames are all the same picture."""

    fix = "upload a moving clip, or set embed.quality.refuse_frozen=false to embed stills"


class TooLarge(VideoError):
    """Picture with more pixels, or file with more bytes, than the limits allow."""

    fix = "scale the video down, or raise embed.decode.max_pixels or max_bytes"


class DecodeTimeout(VideoError):
    """Video that needs more CPU time than `decode.timeout_s` or longer than `wall_timeout_s`; its process is
    killed."""

    transient = True
    fix = "raise embed.decode.timeout_s, or re-encode the video with more keyframes"


class DecodeCrashed(VideoError):
    """Video that ends its decoding process: a decoder bug, or more memory than `decode.max_memory_mb`."""

    fix = "re-encode it; if it is a sound file, send it to the decoder's maintainers"


class EncodeFailed(VideoError):
    """Clip that an encoder rejects or encodes as values that are not finite."""

    stage = "encode"
    fix = "report it with the video; the others are embedded"


def video_errors() -> dict[str, type[VideoError]]:
    """Return every video error class by its class name, the value of FAILURES.error."""
    kinds: dict[str, type[VideoError]] = {}
    queue: list[type[VideoError]] = [VideoError]
    while queue:
        kind = queue.pop()
        kinds[kind.__name__] = kind
        queue.extend(kind.__subclasses__())
    return kinds


def fix_for(error: str) -> str:
    """Return the fix for a failure, by its class name as in FAILURES.error."""
    return video_errors().get(error, VideoError).fix


def guard(kind: type[VideoError], function: Callable[[], T]) -> T | VideoError:
    """Return a function's result, or what it raised as the error of one video.

    This is the boundary that keeps a bad video from stopping the others: listing, reading, decoding and
    encoding of one video pass through it.

    Args:
        kind: Class for exceptions that are not VideoErrors.
        function: Work on one video.
    """
    try:
        return function()
    except Exception as error:
        return as_video_error(error, kind)


def as_video_error(error: Exception, kind: type[VideoError]) -> VideoError:
    """Return a VideoError as it is, and any other exception as one of the class `kind`."""
    return error if isinstance(error, VideoError) else kind(describe_exception(error))


def describe_exception(error: Exception) -> str:
    """Return an exception's class and message in one line, whatever its message is."""
    try:
        message = " ".join(str(error).split())[:MAX_MESSAGE_CHARS]
    except Exception:
        message = ""
    return mask_credentials(f"{type(error).__name__}: {message}" if message else type(error).__name__)


_CLOUD_REASONS = (
    ("access is refused", r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|code:? 40[13]\b"),
    ("there is no such bucket", r"NO_SUCH_BUCKET"),
    ("cannot connect", r"NETWORK_CONNECTION|curlCode: \d+"),
    (
        "the server is busy or fails",
        r"SLOW_DOWN|THROTTLING|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|code:? (5\d\d|429)\b",
    ),
)
"""What the errors of object stores mean that pyarrow reports as text."""


def os_error_reason(error: OSError) -> str:
    """Return the operating system's reason in lower case, or the error's own text where there is none.

    An object store's error begins with what it means: refused, no bucket, no connection, or a failing server.
    """
    if isinstance(error, FileNotFoundError) and "AWS Error" not in str(error):
        return "no such file or directory"
    if error.strerror:
        return error.strerror.lower()
    text = mask_credentials(" ".join(str(error).split())[:MAX_MESSAGE_CHARS])
    found = next(
        (reason for reason, pattern in _CLOUD_REASONS if "AWS Error" in text and re.search(pattern, text)),
        None,
    )
    return f"{found} ({text})" if found else text
