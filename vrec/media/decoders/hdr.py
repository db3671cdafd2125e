"""Mapping of HDR pictures (PQ and HLG of ITU-R BT.2100) to SDR."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

HdrTransfer = Literal["PQ", "HLG"]
_Floats = npt.NDArray[np.float32]

SDR_WHITE_NITS = 203.0
"""Luminance of SDR's white in an HDR picture (ITU-R BT.2408)."""
PEAK_NITS = 1000.0
"""Luminance that becomes the brightest SDR white: HLG's nominal peak, and what most PQ is graded for."""
KNEE = 0.8
"""Share of SDR white up to which light is kept as it is; from there to the peak it is compressed."""
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""From linear BT.2020 to linear BT.709 primaries (ITU-R BT.2087)."""
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)


def hdr_transfer(stream: VideoStream) -> HdrTransfer | None:
    """Return the HDR transfer function that a stream is tagged with, or None for SDR."""
    transfers: dict[int, HdrTransfer] = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
    return transfers.get(int(stream.codec_context.color_trc))


def to_sdr(picture: npt.NDArray[np.uint16], transfer: HdrTransfer) -> npt.NDArray[np.uint8]:
    """Map pictures to SDR.

    Args:
        picture: (..., 3) R'G'B' of BT.2020 primaries, full range of 16 bits.
        transfer: Transfer function of the picture.

    Returns:
        (..., 3) R'G'B' of BT.709 primaries, as an SDR display shows them (BT.1886).
    """
    signal = picture.astype(np.float32) / np.float32(65_535)
    nits = _pq_nits(signal) if transfer == "PQ" else _hlg_nits(signal)
    light = np.maximum(nits / np.float32(SDR_WHITE_NITS) @ _TO_BT709.T, 0)
    # One factor for the three channels keeps the hue; what is still too bright is clipped.
    brightest = light.max(axis=-1, keepdims=True)
    light *= _compressed(brightest) / np.maximum(brightest, 1e-6)
    return np.rint(255 * np.clip(light, 0, 1) ** np.float32(1 / 2.4)).astype(np.uint8)


def _pq_nits(signal: _Floats) -> _Floats:
    """Return displayed light (SMPTE ST 2084, BT.2100 table 4)."""
    power = signal ** np.float32(1 / 78.84375)
    share = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return (10_000 * share ** np.float32(1 / 0.1593017578125)).astype(np.float32)


def _hlg_nits(signal: _Floats) -> _Floats:
    """Return light as a display of PEAK_NITS shows it (BT.2100 table 5, with a system gamma of 1.2)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = np.maximum(scene @ _LUMINANCE, 1e-6)[..., None]
    return (PEAK_NITS * luminance**0.2 * scene).astype(np.float32)


def _compressed(light: _Floats) -> _Floats:
    """Return light with everything from KNEE to the peak in KNEE to 1, smoothly (a shoulder of slope 1)."""
    span, reach = 1 - KNEE, PEAK_NITS / SDR_WHITE_NITS - KNEE
    over = np.maximum(light - KNEE, 0)
    # over / (1 + over / span) tends to span; the factor makes it reach span at the peak.
    shoulder = over * (1 + over * span / reach**2) / (1 + over / span)
    return np.where(light <= KNEE, light, np.minimum(KNEE + shoulder, 1)).astype(np.float32)
