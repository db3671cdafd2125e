"""The tolerance of `vrec embed`: which numbers and shares are taken, and what they cover."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from vrec.cli.embed import parse_tolerance


@pytest.mark.parametrize(
    ("text", "failed", "videos", "covered"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("3", 3, 10, True),
        ("3", 4, 10**9, False),
        ("0%", 1, 10**6, False),
        ("10%", 1, 10, True),
        ("10%", 2, 10, False),
        ("29%", 29, 100, True),
        ("0.1%", 1, 1000, True),
        ("0.1%", 1, 999, False),
        (" 5 % ", 5, 100, True),
        ("100%", 10, 10, True),
    ],
)
def test_a_tolerance_covers_up_to_its_number_or_share(text, failed, videos, covered):
    counts = {"failed": failed, "videos": videos, "embedded": videos - failed}
    assert parse_tolerance(text).covers(**counts) is covered


@given(st.integers(1, 1000), st.data())
def test_a_share_of_whole_percents_is_exact(videos, data):
    failed, percent = data.draw(st.integers(0, videos)), data.draw(st.integers(0, 100))
    assert parse_tolerance(f"{percent}%").covers(failed=failed, videos=videos) == (
        100 * failed <= percent * videos
    )


@pytest.mark.parametrize("text", ["", "%", "-1", "1.5", "101%", "-5%", "ten", "5%%", "nan", "1e3", "٣"])
def test_any_other_tolerance_is_wrong_usage(text):
    with pytest.raises(typer.BadParameter, match="want a number of videos or 0% to 100%"):
        parse_tolerance(text)
