import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, conform
from vrec.events.datasets import ORDER_END
from vrec.events.plain_files import FILE_READERS, NO_TIME, read_lists, read_pairs


def written(tmp_path, text: str) -> str:
    path = tmp_path / "log.txt"
    path.write_text(text)
    return str(path)


def pairs_of(found) -> list[tuple[str, str]]:
    rows = conform(found.events, EVENTS, stage="test").to_pylist()
    assert len({row["event_id"] for row in rows}) == len(rows)
    return sorted((row["user_id"], row["video_id"]) for row in rows)


@pytest.mark.parametrize("mark", ["\t", " ", ",", ";", "|", "::"])
def test_pairs_of_any_separator_have_neither_times_nor_an_order(tmp_path, mark):
    found = read_pairs(written(tmp_path, "".join(f"{u}{mark}{v}\n" for u, v in ("0a", "0b", "1a", "1a"))))
    assert pairs_of(found) == [("0", "a"), ("0", "b"), ("1", "a"), ("1", "a")]
    assert (found.has_timestamps, found.has_order) == (False, False)
    assert set(found.events["at"].to_pylist()) == {NO_TIME}


def test_a_weight_of_zero_is_no_interaction_and_a_time_is_a_time(tmp_path):
    found = read_pairs(written(tmp_path, "007 a 3.5\n007 b 0\n8 a 13883\n"))
    assert pairs_of(found) == [("007", "a"), ("8", "a")]
    clocked = read_pairs(written(tmp_path, "1::a::5::978300760\n1::b::3::978302109\n"))
    assert (clocked.has_timestamps, clocked.has_order) == (True, True)
    assert clocked.events["at"].to_pylist()[0] == dt.datetime(2000, 12, 31, 22, 12, 40, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "text",
    [json.dumps({"u": [5, 3, 9], "v": ["3"], "w": []}), "u 5 3 9\nv 3\nw\n", "u,5,3,9\n\nv,3\n"],
)
def test_lists_keep_the_order(tmp_path, text):
    found = read_lists(written(tmp_path, text))
    assert pairs_of(found) == [("u", "3"), ("u", "5"), ("u", "9"), ("v", "3")]
    own = [row for row in found.events.to_pylist() if row["user_id"] == "u"]
    assert [row["video_id"] for row in own] == ["5", "3", "9"]
    assert own[-1]["at"] == ORDER_END
    assert (found.has_timestamps, found.has_order) == (False, True)


def test_a_published_test_may_name_one_video_without_a_list(tmp_path):
    assert pairs_of(read_lists(written(tmp_path, '{"u": 5}'))) == [("u", "5")]


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        (
            "pairs",
            "user item rating\n1 2 3\n",
            "weight: 1 of 2 lines have no number, such as 'rating' in line 1",
        ),
        ("pairs", "1 2 3 4 5 6\n", "a line has 6 fields"),
        ("pairs", "lonely\n", "fewer than two fields"),
        ("pairs", "1\t2\t1\n\n3\t\t1\n", "1 of 2 lines lack a user or an item, such as line 3"),
        ("pairs", "", "the file is empty"),
        ("pairs", "\n \r\n", "the file is empty"),
        ("pairs", "1 2 0\n", "no line has a weight above 0"),
        ("pairs", "1 2 nan\n", "1 of 1 lines have no number"),
        ("lists", "{broken", "not one JSON object"),
        ("lists", '{"u": [{"id": 3}]}', "user u has"),
        ("lists", "", "no user has a video"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, layout, text, message):
    path = written(tmp_path, text)
    with pytest.raises(EventsError, match=message) as raised:
        FILE_READERS[layout](path)
    assert path in str(raised.value)
    with pytest.raises(EventsError, match="no such file"):
        FILE_READERS[layout](path + ".gone")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 2\n\n3 4 5\n6 7 8\n",
            r"line 3 has another number of fields \(3\) than the first \(2\), as have 1 more lines: '3 4 5'",
        ),
        ("1 2 1\n3 4\n", r"line 2 has another number of fields \(2\) than the first \(3\): '3 4'"),
        ("\n1\t2\n3\t\n", r"line 3 has another number of fields \(1\)"),
        ("1,2,3,4\n1,2,3,4,5\n", r"line 2 has another number of fields \(5\)"),
    ],
)  # fmt: skip
def test_a_line_with_other_fields_than_the_first_is_named(tmp_path, text, message):
    with pytest.raises(EventsError, match=message) as raised:
        read_pairs(written(tmp_path, text))
    assert "polars" not in str(raised.value).lower()
    assert "truncate" not in str(raised.value)
    assert "use --dataset lists" in raised.value.fix


WORDS = st.text("abc1é\"'#", min_size=1, max_size=3)


@given(
    rows=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=9),
    mark=st.sampled_from(["\t", " ", ",", ";", "|", "::"]),
    end=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
)
def test_pairs_are_those_that_plain_python_reads(tmp_path_factory, rows, mark, end):
    path = tmp_path_factory.mktemp("pairs") / "log.txt"
    path.write_bytes("".join(mark.join(row) + end for row in rows).encode())
    assert pairs_of(read_pairs(path)) == sorted(rows)


def test_published_amazon_files(shared_data):
    folder = shared_data / "interactions"
    train = read_pairs(folder / "disencdr/cloth_sport_train.txt")
    assert (train.events.num_rows, len(train.events["user_id"].unique())) == (87_829, 9_928)
    beauty = read_lists(folder / "beauty5/inter.json")
    assert (beauty.events.num_rows, len(beauty.events["user_id"].unique())) == (198_502, 22_363)
