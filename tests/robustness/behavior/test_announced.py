"""Tables of newcomers that a shop expects."""

import pytest

from vrec.core.errors import SourceError
from vrec.robustness.behavior.announced import read_announced
from vrec.robustness.behavior.stream_state import Announcement

HEAD = "video_id,since,until,newcomers\n"
ROW = "v1,2026-05-01T00:00:00Z,2026-05-02T00:00:00Z,300\n"


def test_a_table_is_read_by_video(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + ROW + "v2,2026-05-01T00:00:00Z,2026-05-01T00:00:00Z,0\n")
    begin = 1_777_593_600_000_000
    assert read_announced(str(tmp_path / "a.csv")) == {
        "v1": Announcement(begin, begin + 86_400_000_000, 300),
        "v2": Announcement(begin, begin, 0),
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("video_id,since\nv1,2026-05-01T00:00:00Z\n", "no column until or newcomers"),
        (HEAD + ROW + ROW, "v1 is there twice"),
        (HEAD + "v1,2026-05-02T00:00:00Z,2026-05-01T00:00:00Z,3\n", "ends before it begins"),
        (HEAD + ROW.replace("300", "-1"), "fewer than 0"),
        (HEAD + ROW.replace("300", "many"), "cannot be read"),
        (HEAD + ROW.replace("300", ""), "newcomers has empty values"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(tmp_path, text, why):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SourceError, match=why) as caught:
        read_announced(str(tmp_path / "a.csv"))
    assert caught.value.fix
