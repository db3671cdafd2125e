import io

import numpy as np
import pytest
from PIL import Image

from vrec.media.posters import PosterConfig, poster
from vrec.synthetic.videos import SyntheticVideosConfig, plan_catalog
from vrec.synthetic.videos.scene import render_frames


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    drawn = plan_catalog(SyntheticVideosConfig(videos=1, seconds=1.0, fps=5))[0]
    return np.stack([np.asarray(picture) for picture in render_frames(drawn)])


def test_a_poster_is_the_middle_frame_at_its_size(clip: np.ndarray) -> None:
    image = Image.open(io.BytesIO(poster(clip, PosterConfig(px=160, quality=90))))
    assert (image.format, image.size) == ("JPEG", (160, 160))
    shown = np.asarray(image, dtype=float)
    far = [np.abs(np.asarray(Image.fromarray(f).resize((160, 160))) - shown).mean() for f in clip]
    assert int(np.argmin(far)) == len(clip) // 2


def test_a_small_frame_is_not_enlarged(clip: np.ndarray) -> None:
    image = Image.open(io.BytesIO(poster(clip[:, :40, :60], PosterConfig())))
    assert image.size == (60, 40)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (1, 8, 8, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="want"):
        poster(np.zeros(shape, dtype=np.uint8), PosterConfig())


def test_size_and_quality_are_those_of_the_settings(clip: np.ndarray) -> None:
    small, large = (poster(clip, PosterConfig(px=px)) for px in (32, 128))
    assert [Image.open(io.BytesIO(data)).size for data in (small, large)] == [(32, 32), (128, 128)]
    assert len(poster(clip, PosterConfig(quality=20))) < len(poster(clip, PosterConfig(quality=90)))
