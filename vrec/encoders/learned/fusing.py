"""A learned fusion as `vrec embed` runs it."""

from collections.abc import Mapping, Sequence

import numpy as np

from vrec.core.protocols import Modality, Vectors
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.learned.stored import StoredEncoder


class LearnedFusion:
    """What the modalities' encoders give to one unit vector a video, by a trained head."""

    modality: Modality = "fused"

    def __init__(self, stored: StoredEncoder, uri: str, *, by_frame: bool, device: str = "cpu") -> None:
        """With `by_frame` it takes a network's features of each frame, else one vector for all of them.

        Raises ModelError where what was read from the folder `uri` is no sound encoder.
        """
        self._encoder = LearnedEncoder.of(stored, uri, device=device)
        self.by_frame = by_frame
        self.name, self.dim = self._encoder.name, self._encoder.dim
        self.takes: tuple[Modality, ...] = tuple(stored.dims)
        """The modalities of which a video needs one."""

    def fuse(self, parts: Mapping[Modality, Sequence[Vectors | None]]) -> Vectors:
        """(N, dim) float32 unit rows from N vectors, or None where absent, for every modality.

        Of frames, (T, D) features of each where it is `by_frame`. Raises ValueError for a row with nothing
        that it takes.
        """
        count = max((len(rows) for rows in parts.values()), default=0)
        nothing: list[Vectors | None] = [None] * count
        frames = [None if f is None else np.atleast_2d(f) for f in parts.get("frames", nothing)]
        return self._encoder.encode_parts(frames, parts)
