"""Pictures, crops and clips as examples: real files, the real encoders, and what is refused."""

import io
import wave

import numpy as np
import pytest
from PIL import Image

from tests.films import write_video
from vrec.core.errors import TooLarge, UnreadableVideo, VideoError, WrongContainer
from vrec.encoders.build import build_encoders
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MomentEncoder
from vrec.media.decode import decode
from vrec.serving.moments.example import ExampleEmbedder, read_picture
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog
from vrec.synthetic.videos.scene import render_frames

CONFIG = EmbedConfig.model_validate({"moments": {}, "encoders": {"text": None, "fusion": None}})


@pytest.fixture(scope="module")
def embedder():
    encoder = MomentEncoder(build_encoders(CONFIG.encoders), CONFIG.moments)
    made = ExampleEmbedder(encoder, CONFIG)
    yield made
    made.close()


@pytest.fixture(scope="module")
def looks():
    plan = plan_catalog(SyntheticVideosConfig(videos=3, near_duplicates=0, broken=0, width=224, height=224))
    return [np.asarray(next(iter(render_frames(video)))) for video in plan]


@pytest.fixture(scope="module")
def known(embedder, looks, tmp_path_factory):
    """The moments of a film of three shots of 3 s."""
    path = write_video(
        tmp_path_factory.mktemp("film") / "a.mp4", [look for look in looks for _ in range(30)], rate=10
    )
    moments = decode(path, CONFIG.media()).moments
    return embedder._encoder.encode("a", moments)["frames"]


def encoded(picture, form="PNG", size=None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(picture)
    (image.resize(size) if size else image).save(file, form)
    return file.getvalue()


def best(example, known) -> int:
    return int((known.rows @ example.vectors["frames"].T).max(axis=1).argmax())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_finds_the_moment_that_shows_it(embedder, looks, known, form):
    assert known.spans[:, 0].tolist() == pytest.approx([0, 3, 6], abs=0.26)
    for place, look in enumerate(looks):
        example = embedder.embed(encoded(look, form, (300, 200)))
        assert best(example, known) == place
        assert set(example.encoders) == {"frames"}


def test_a_crop_finds_it_too(embedder, looks, known):
    for place, look in enumerate(looks):
        assert best(embedder.embed(encoded(look[20:, 10:210])), known) == place


def test_a_clip_finds_it_by_picture_and_has_its_sound(embedder, looks, known, tmp_path):
    path = write_video(tmp_path / "q.mp4", [looks[1]] * 20, rate=10, tone_s=2, options={"crf": "38"})
    example = embedder.embed(path.read_bytes())
    assert best(example, known) == 1
    assert set(example.vectors) == {"frames", "audio"}
    assert np.linalg.norm(example.vectors["audio"], axis=1) == pytest.approx(1)


@pytest.mark.parametrize("content", [b"%PDF-1.4 x", b"<html></html>", b"just words", b"GIF89a" + b"\0" * 20])
def test_other_files_are_refused(embedder, content):
    with pytest.raises(VideoError):
        embedder.embed(content)


@pytest.mark.parametrize("level", [0, 200])
def test_a_clip_of_one_color_is_an_example_too(embedder, tmp_path, level):
    flat = np.full((224, 224, 3), level, np.uint8)
    content = write_video(tmp_path / "flat.mp4", [flat] * 20, rate=10).read_bytes()
    assert "frames" in embedder.embed(content).vectors


def sound():
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes((np.sin(np.arange(32_000) / 20) * 9_000).astype("<i2").tobytes())
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"%PDF-1.4 x", b"just words", b"GIF89a" + b"\0" * 20, b"BM" + b"\0" * 60, b"", sound()],
    ids=["pdf", "text", "gif", "bmp", "empty", "wav"],
)
def test_what_is_wrong_has_a_mend_for_the_shopper(embedder, content):
    with pytest.raises(VideoError) as caught:
        embedder.embed(content)
    assert caught.value.fix.startswith("send a ")
    assert "embed." not in f"{caught.value} {caught.value.fix}"


def test_a_damaged_picture_is_refused(embedder, looks):
    whole = encoded(looks[0])
    with pytest.raises(UnreadableVideo):
        embedder.embed(whole[: len(whole) // 2])
    with pytest.raises(WrongContainer):
        read_picture(b"BM" + b"\0" * 60, 32, 10_000)


def test_a_huge_picture_is_refused_before_it_is_decoded():
    with pytest.raises(TooLarge, match="at most 1,000 pixels"):
        read_picture(encoded(np.zeros((64, 64, 3), np.uint8)), 32, 1000)


def test_a_turned_photo_is_upright():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40:] = 255
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(picture).save(file, "JPEG", exif=exif)
    frame = read_picture(file.getvalue(), 32, 10_000)[0]
    assert frame[:, :14].mean() > 240
    assert frame[:, 18:].mean() < 15
