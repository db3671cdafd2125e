"""Examples to search moments by: a picture, or a short clip, as vectors."""

import io
import os
import tempfile

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vrec.core.errors import (
    DecodeTimeout,
    NoFrames,
    NoVideoStream,
    TooLarge,
    UnreadableVideo,
    VideoError,
    WrongContainer,
)
from vrec.core.types import Frames, Modality, Vectors
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MomentEncoder
from vrec.media.decode_process import DecodeProcess
from vrec.media.decoders.signature import HEAD_BYTES, non_video_kind
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.quality import QualityConfig
from vrec.serving.moments.messages import MomentExample

PICTURES = ("JPEG", "PNG", "WEBP")
"""Formats of pictures that are read."""
SEND = "send a picture (JPEG, PNG or WebP), or a short clip such as an MP4"
"""Mend of most that is wrong with an example."""
LONGEST_S = 20.0
"""Seconds of a clip that are searched by."""


class ExampleEmbedder:
    """Embedder of examples with the encoders of moments; use it from one thread."""

    def __init__(self, encoder: MomentEncoder, config: EmbedConfig) -> None:
        """Build it over the encoder; clips are decoded in a process that can be killed."""
        assert config.moments is not None
        self._encoder, self._config = encoder, config
        spans = config.moments.spans().model_copy(update={"up_to_s": LONGEST_S, "subtitles": False})
        # What is no good product video may be a good example: a still, or a clip of one color.
        quality = QualityConfig(refuse_black=False, refuse_frozen=False)
        media = config.media().model_copy(update={"fingerprint": False, "moments": spans, "quality": quality})
        self._decoder = DecodeProcess(media)

    def embed(self, content: bytes) -> MomentExample:
        """Embed the bytes of a picture or of a clip.

        Raises:
            VideoError: They are neither, or too large, or nothing is to be seen or heard.
        """
        kind = non_video_kind(content[:HEAD_BYTES])
        if kind is None:
            moments = self._clip(content)
        elif kind.startswith("a picture"):
            frame = read_picture(content, self._config.decode.frame_px, self._config.decode.max_pixels)
            moments = DecodedMoments(spans=np.array([[0.0, 0.0]]), frames=frame)
        else:
            raise WrongContainer(f"the file is {kind}", fix=SEND)
        made = self._encoder.encode("example", moments)
        vectors: dict[Modality, Vectors] = {m: made[m].rows for m in ("frames", "audio") if m in made}
        if not vectors:
            raise NoFrames("it has no picture or sound that can be searched by", fix=SEND)
        return MomentExample(vectors, {modality: self._encoder.names[modality] for modality in vectors})

    def close(self) -> None:
        """End the decoding process."""
        self._decoder.close()

    def _clip(self, content: bytes) -> DecodedMoments:
        with tempfile.TemporaryDirectory(prefix="vrec-example-") as folder:
            path = os.path.join(folder, "clip")
            with open(path, "wb") as file:
                file.write(content)
            (decoded,) = self._decoder.decode_many([path])
        if isinstance(decoded, VideoError):
            raise for_shopper(decoded)
        assert decoded.moments is not None
        return decoded.moments


def for_shopper(error: VideoError) -> VideoError:
    """Return the error of an example with a mend that is the shopper's to make, not the operator's."""
    mends: dict[type[VideoError], str] = {
        NoVideoStream: "send a picture, or a clip that has one: sound alone is not searched by",
        TooLarge: "send a smaller picture or clip",
        DecodeTimeout: "send a shorter or smaller clip",
    }
    return type(error)(str(error), fix=mends.get(type(error), SEND))


def read_picture(content: bytes, side: int, max_pixels: int) -> Frames:
    """Return a picture as one upright frame, (1, side, side, 3) uint8.

    Raises:
        WrongContainer: It is in none of the formats that are read.
        TooLarge: It has more than `max_pixels`.
        UnreadableVideo: It is damaged.
    """
    try:
        with Image.open(io.BytesIO(content), formats=PICTURES) as image:
            if image.width * image.height > max_pixels:
                raise TooLarge(
                    f"the picture is {image.width}×{image.height}; at most {max_pixels:,} pixels are allowed",
                    fix="send a smaller picture",
                )
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR))[None]
    except UnidentifiedImageError:
        raise WrongContainer("the picture is in a format that is not read", fix=SEND) from None
    except Image.DecompressionBombError:
        raise TooLarge(
            f"the picture has more than {max_pixels:,} pixels", fix="send a smaller picture"
        ) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableVideo(f"the picture is damaged: {error}", fix=SEND) from None
