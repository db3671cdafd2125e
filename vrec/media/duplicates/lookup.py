"""Lookup of the videos that a new one is a copy of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vrec.media.duplicates.alignment import Alignment, FingerprintPictures, align, is_copy
from vrec.media.duplicates.candidates import WindowIndex
from vrec.media.duplicates.fingerprint import GRID, decode_fingerprint

MAX_COMPARED = 12
"""Number of candidates, the most alike ones, that a new video is compared with; as many when mirrored."""


class CopyMatch(NamedTuple):
    """Video that a new one is a copy of."""

    video_id: str
    is_mirrored: bool
    alignment: Alignment


class CopyIndex:
    """Fingerprints of a catalog, for the question of whether a new video is a copy.

    A lookup in the index takes time proportional to the root of the catalog, and each of a fixed number of
    candidates some milliseconds. In memory are the fingerprints and ten small vectors per video.
    """

    def __init__(self, video_ids: Sequence[str], fingerprints: Sequence[bytes]) -> None:
        """Build the index of N videos.

        Raises:
            ValueError: A fingerprint is damaged; the message names the video.
        """
        self.video_ids, self._fingerprints = tuple(video_ids), tuple(fingerprints)
        means = np.zeros((len(self.video_ids), GRID * GRID), np.float16)
        for row, (video_id, fingerprint) in enumerate(zip(video_ids, fingerprints, strict=True)):
            try:
                means[row] = decode_fingerprint(fingerprint).mean(axis=0).reshape(-1)
            except ValueError as error:
                raise ValueError(f"{video_id}: {error}") from None
        self._index = WindowIndex(means)

    def __len__(self) -> int:
        return len(self.video_ids)

    def find(self, fingerprint: bytes) -> CopyMatch | None:
        """Return the video that a new one is the clearest copy of, None where it is new indeed.

        Raises:
            ValueError: The bytes are not a fingerprint.
        """
        pictures = FingerprintPictures.of(decode_fingerprint(fingerprint))
        best: CopyMatch | None = None
        for is_mirrored in (False, True):
            shown = pictures.mirrored if is_mirrored else pictures
            for row in self._index.nearest(shown.mean.astype(np.float16))[:MAX_COMPARED]:
                found = align(FingerprintPictures.of(decode_fingerprint(self._fingerprints[row])), shown)
                if found is None or not is_copy(found):
                    continue
                if best is None or _strength(found) > _strength(best.alignment):
                    best = CopyMatch(self.video_ids[row], is_mirrored, found)
        return best


def _strength(found: Alignment) -> float:
    return found.look + found.motion
