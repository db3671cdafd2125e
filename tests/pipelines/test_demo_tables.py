"""Tables of the demo's shop: paths, videos with vectors, and VIDEOS of a folder of files."""

import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.pipelines.demo_shop import embedded_videos, videos_from_media, with_absolute_uris

MEDIA = pa.table({"video_id": ["a", "b"], "uri": ["/x/a.mp4", "b.mp4"], "duration_s": [1.5, None]})


def test_videos_of_a_folder_have_their_duration_and_are_available():
    videos = conform(videos_from_media(MEDIA), VIDEOS, stage="test")
    assert videos["video_id"].to_pylist() == ["a", "b"]
    assert videos["uri"].to_pylist() == ["/x/a.mp4", "b.mp4"]
    assert videos["duration_s"].to_pylist() == [1.5, None]
    assert videos["available"].to_pylist() == [True, True]


def test_uris_are_those_of_the_embedded_files_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = pa.table({"video_id": ["b", "c", "a"], "uri": ["old", "c.mp4", "old"], "n": [1, 2, 3]})
    found = with_absolute_uris(videos, MEDIA)
    assert found["uri"].to_pylist() == [str(tmp_path / "b.mp4"), str(tmp_path / "c.mp4"), "/x/a.mp4"]
    assert found["n"].to_pylist() == [1, 2, 3]


def test_only_videos_with_a_vector_are_on_offer():
    fused = pa.table({"entity_id": ["b", "z"]})
    assert embedded_videos(MEDIA, fused)["video_id"].to_pylist() == ["b"]
