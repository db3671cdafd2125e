"""A scene coded as HDR gives the picture that the same scene gives in SDR."""

from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from tests.films import noise
from vrec.media.decode import MediaConfig, decode
from vrec.media.decoders.hdr import to_sdr

TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""From linear BT.709 to linear BT.2020 (BT.2087)."""
TAGS = {"PQ": 16, "HLG": 18}
WHITE = 203.0
OPTIONS = {
    "libx264": {"crf": "8"},
    "libx265": {"crf": "8", "x265-params": "log-level=none:pools=1"},
    "ffv1": {},
}


def pq(nits):
    """BT.2100 table 4, the inverse EOTF."""
    power = (np.clip(nits, 0, 10_000) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits):
    """BT.2100 table 5: the inverse OOTF of a display of 1,000 nits, and the OETF."""
    share = nits / 1000
    luminance = np.maximum(share @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
    scene = share * luminance ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def hdr_signal(sdr, transfer):
    """R'G'B' in BT.2020 of what an SDR display with a white of 203 nits shows; (..., 3) uint8 to uint16."""
    nits = (sdr / 255) ** 2.4 * WHITE @ TO_BT2020.T
    signal = pq(nits) if transfer == "PQ" else hlg(nits)
    return np.rint(np.clip(signal, 0, 1) * 65_535).astype(np.uint16)


def write(path, pictures, transfer, codec, pix_fmt):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, options=OPTIONS[codec])
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.time_base = Fraction(1, 10)
        if transfer:
            context.color_primaries, context.color_trc, context.colorspace = 9, TAGS[transfer], 9
        else:
            context.color_primaries, context.color_trc, context.colorspace = 1, 1, 1
        for i, picture in enumerate(pictures):
            kind = "rgb48le" if transfer else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            frame = frame.reformat(format=pix_fmt, dst_colorspace="bt2020" if transfer else "itu709")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def scenes(seed):
    """Smooth moving pictures without clipped whites."""
    return noise(seed) // 5 * 3 + 25


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_every_sdr_color_comes_back(transfer):
    steps = np.arange(0, 230, 15)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    back = to_sdr(hdr_signal(colors, transfer), transfer).astype(int)
    assert np.abs(back - colors)[colors.min(axis=-1) > 20].max() <= 3
    assert np.abs(back - colors).mean() < 1


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_brighter_light_is_never_darker_and_the_peak_is_white(transfer):
    nits = np.linspace(0, 1000, 500)[:, None].repeat(3, axis=1)
    signal = pq(nits) if transfer == "PQ" else hlg(nits)
    back = to_sdr(np.rint(np.clip(signal, 0, 1) * 65_535).astype(np.uint16), transfer).astype(int)
    assert (np.diff(back, axis=0) >= -1).all()
    assert back[-1].min() >= 253
    assert 235 < back[102].max() < 252, "SDR's white leaves room for what is brighter"
    assert np.ptp(back, axis=1).max() <= 1, "gray stays gray"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A function that returns the SDR and the HDR film of a case, written once."""
    folder, plain = tmp_path_factory.mktemp("films"), scenes(3)

    @cache
    def film(transfer, ending, codec, pix_fmt):
        pictures = hdr_signal(plain, transfer) if transfer else plain
        return write(folder / f"{transfer}-{codec}.{ending}", pictures, transfer, codec, pix_fmt)

    return lambda transfer, *case: (film(None, *case), film(transfer, *case))


@pytest.mark.parametrize(
    ("ending", "codec", "pix_fmt"),
    [
        ("mp4", "libx265", "yuv420p10le"),
        ("mov", "libx265", "yuv420p10le"),
        ("mkv", "libx265", "yuv422p10le"),
        ("mkv", "ffv1", "yuv444p10le"),
        ("ts", "libx265", "yuv420p10le"),
        ("mp4", "libx264", "yuv420p10le"),
    ],
)
@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
@pytest.mark.parametrize("decoder", ["auto", pytest.param("decord", marks=pytest.mark.slow)])
def test_an_hdr_film_looks_as_its_sdr_twin(films, transfer, ending, codec, pix_fmt, decoder):
    sdr_path, hdr_path = films(transfer, ending, codec, pix_fmt)
    sdr = decode(sdr_path, MediaConfig())
    hdr = decode(hdr_path, MediaConfig(decode={"decoder": decoder}))
    assert f"HDR ({transfer}) mapped to SDR" in hdr.note
    assert "HDR" not in (sdr.note or "")
    difference = np.abs(hdr.frames.astype(int) - sdr.frames.astype(int))
    assert difference.mean() < 4
    flat = [video.frames.reshape(-1).astype(float) - video.frames.mean() for video in (sdr, hdr)]
    assert np.corrcoef(*flat)[0, 1] > 0.995
