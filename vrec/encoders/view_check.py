"""Check of whether the frames of a video agree with a coarser view of themselves."""

from dataclasses import replace

from vrec.core.types import Clip, Vectors
from vrec.encoders.build import EncoderSet
from vrec.robustness.content.config import ContentChecksConfig
from vrec.robustness.content.views import second_view

SUSPICIOUS = "suspicious: "
"""Beginning of the part of a video's note that says why it may be doctored."""


class ViewCheck:
    """Consensus of two views of the frames of each video.

    Doctored frames that draw the encoder elsewhere depend on small changes of pixels, which the coarser view
    lacks (Xu et al. 2018). An attack that was prepared for both views passes."""

    def __init__(self, encoders: EncoderSet, config: ContentChecksConfig) -> None:
        """Build it over the encoders of the catalog."""
        self._encoders, self._config = encoders, config

    def agreement(self, clip: Clip, vector: Vectors) -> float:
        """Return the cosine of the (dim,) unit vector of a clip's frames and that of their coarser view.

        Raises:
            EncodeFailed: The vector of the coarser view is zero or not finite.
        """
        assert clip.frames is not None
        view = replace(clip, frames=second_view(clip.frames, self._config, clip.video_id))
        (other,) = self._encoders.encode_modality("frames", [view])
        return 1.0 if other is None else float(vector @ other)

    def doubt(self, clip: Clip, vector: Vectors | None) -> str | None:
        """Return a part of a note for a clip whose views disagree, None for others; raise EncodeFailed."""
        if vector is None or clip.frames is None:
            return None
        agreement = self.agreement(clip, vector)
        if agreement >= self._config.min_agreement:
            return None
        return f"{SUSPICIOUS}its frames and a coarser view of them agree to {agreement:.2f} only"
