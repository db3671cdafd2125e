"""The encoder tells which video of the bundle an upload is a copy of."""

import pytest

from tests.films import write_video
from tests.media.duplicates.clips import RATE, scene
from tests.media.duplicates.test_groups import thumbnails
from vrec.encoders.config import EmbedConfig
from vrec.media.duplicates.fingerprint import encode_fingerprint
from vrec.media.duplicates.lookup import CopyIndex
from vrec.serving.deployments.encoder import VideoEmbedder

CONFIG = EmbedConfig.model_validate(
    {
        "encoders": {"frames": None, "text": None},
        "decode": {"frame_px": 32},
        "quality": {"refuse_frozen": False},
    }
)


@pytest.fixture
def made():
    """Function that makes an embedder with fingerprints of some scenes; all are closed in the end."""
    embedders = []

    def make(*seeds):
        codes = [encode_fingerprint(thumbnails(scene(seed))) for seed in seeds]
        index = CopyIndex([f"v{seed}" for seed in seeds], codes) if seeds else None
        embedders.append(VideoEmbedder(CONFIG, "cpu", index))
        return embedders[-1]

    yield make
    for embedder in embedders:
        embedder.close()


def test_a_mirrored_upload_names_its_original_and_others_none(made, tmp_path):
    embedder = made(1, 2)
    for name, clip in (("copy", scene(2)[:, :, ::-1]), ("other", scene(9))):
        write_video(tmp_path / f"{name}.mp4", list(clip), rate=RATE)
    found = [embedder.video(str(tmp_path / f"{name}.mp4"), None, ()).copy_of for name in ("copy", "other")]
    assert found == ["v2", None]


def test_without_fingerprints_nothing_is_a_copy(made, tmp_path):
    write_video(tmp_path / "a.mp4", list(scene(2)), rate=RATE)
    assert made().video(str(tmp_path / "a.mp4"), None, ()).copy_of is None
