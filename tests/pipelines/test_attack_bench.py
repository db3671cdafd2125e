"""`vrec robustness bench` and `vrec fit` with defences, on a small log."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.robustness.shop import shop
from vrec.cli.main import run
from vrec.core.compute import pc
from vrec.retrieval.registry import load_recommender


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    table = shop()
    fakes = [(f"fake{number:02}", "v07") for number in range(24)]
    users = [*table["user_id"].to_pylist(), *(user for user, _ in fakes)]
    columns = {
        "event_id": [str(number) for number in range(len(users))],
        "user_id": users,
        "video_id": [*table["video_id"].to_pylist(), *(video for _, video in fakes)],
        "kind": ["click"] * len(users),
        "at": pa.concat_arrays(
            [table["at"].combine_chunks(), pa.array([table["at"][0].as_py()] * 24, table["at"].type)]
        ),
    }
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return folder


def bench(log, *more):
    sets = [
        "attacks=[random, love_hate]",
        "rates=[0.05]",
        "videos=50",
        "shoppers=150",
    ]
    given = [part for one in sets for part in ("--set", f"robustness.bench.{one}")]
    return run(["robustness", "bench", "--events", str(log / "events.parquet"), *given, *more])


def test_a_bench_shows_attacks_on_every_recommender_and_writes_them(log, tmp_path, capsys):
    assert bench(log, "--json", "--out", str(tmp_path / "out")) == 0
    done = json.loads(capsys.readouterr().out)
    written = json.loads((tmp_path / "out" / "attacks.json").read_text())
    assert written["summary"] == done["summary"]
    assert {row["model"] for row in done["rows"]} == {"popular", "item_knn", "ease", "als"}
    sorts = {(row["attack"], row["sort"]) for row in done["rows"]}
    assert sorts == {("random", "tail"), ("random", "new"), ("love_hate", "popular")}
    for row in done["rows"]:
        assert row["accounts"] == 8
        assert row["events"] >= row["accounts"]
        for name in ("hit_rate", "exposure", "place", "ndcg"):
            assert len(row[name]) == 3
            assert all(0 <= value <= 1 for value in row[name])
    new = [row for row in done["rows"] if row["sort"] == "new"]
    assert all(row["hit_rate"][0] == 0 and row["place"][0] == 1 for row in new)
    assert any(row["place"][1] < 0.9 for row in new)
    assert done["defence"]["drop_promoted"] is True


def test_a_bench_is_the_same_for_a_seed_and_prints_a_table(log, capsys):
    texts = []
    for _ in range(2):
        assert bench(log, "--model", "popular", "--set", "robustness.bench.seed=3") == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert "hit rate" in texts[0]
    assert "left out:" in texts[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "robustness.bench.attacks=[shouting]"], "the bench has no attack called shouting"),
        (["--model", "sequence"], "the bench has no model called sequence"),
    ],
)
def test_unknown_names_are_wrong_usage(log, capsys, more, said):
    assert bench(log, *more) == 2
    assert said in capsys.readouterr().err


def fit(log, out, *more):
    events = ["--events", str(log / "events.parquet")]
    return run(["fit", *events, "--model", "popular", "--out", str(out), *more])


def test_a_fit_leaves_promotion_out_and_never_recommends_it_again(log, tmp_path, capsys):
    on = [
        "--set",
        "robustness.defence.drop_promoted=true",
        "--set",
        "robustness.defence.promoted.most_share=0.5",
    ]
    on += ["--set", "robustness.defence.promoted.score=-100"]
    on += ["--set", "robustness.defence.promoted.least_odd=0"]
    on += ["--set", "robustness.defence.promoted.least_shown=0"]
    assert fit(log, tmp_path / "plain") == 0
    assert fit(log, tmp_path / "defended", *on, "--json") == 0
    out = capsys.readouterr().out.splitlines()[-1]
    defence = json.loads(out)["chosen"]["defence"]["promoted"]
    assert defence["interactions"] > 0
    plain, defended = (load_recommender(str(tmp_path / name)) for name in ("plain", "defended"))
    counts = [int(m.popularity[m.videos.find(["v07"])[0]]) for m in (plain, defended)]
    assert counts[1] <= counts[0] - 20
    assert run(["recommend", "--model", str(tmp_path / "defended"), "--k", "100"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    watched = pq.read_table(log / "events.parquet").select(["user_id", "video_id"]).to_pylist()
    pairs = {(row["user_id"], row["video_id"]) for row in watched}
    assert not pairs & {(row["user_id"], row["video_id"]) for row in rows}


def test_a_fit_takes_weights_of_shoppers_from_a_table(log, tmp_path, capsys):
    fakes = [f"fake{number:02}" for number in range(24)]
    pq.write_table(pa.table({"user_id": fakes, "weight": [0.0] * 24}), tmp_path / "weights.parquet")
    given = f"robustness.defence.shopper_weights={tmp_path / 'weights.parquet'}"
    assert fit(log, tmp_path / "plain") == 0
    assert fit(log, tmp_path / "weighted", "--set", given) == 0
    plain, weighted = (load_recommender(str(tmp_path / name)) for name in ("plain", "weighted"))
    assert len(plain.users) - len(weighted.users) == 24
    change = plain.popularity - weighted.popularity
    assert np.flatnonzero(change).tolist() == plain.videos.find(["v07"]).tolist()
    assert fit(log, tmp_path / "absent", "--set", "robustness.defence.shopper_weights=absent.parquet") == 1
    assert "absent.parquet" in capsys.readouterr().err


def test_clipping_is_in_the_manifest(log, tmp_path, capsys):
    assert fit(log, tmp_path / "clipped", "--set", "robustness.defence.clip_videos=4", "--json") == 0
    defence = json.loads(capsys.readouterr().out.splitlines()[-1])["chosen"]["defence"]
    table = pq.read_table(log / "events.parquet")
    lengths = table.group_by("user_id").aggregate([("video_id", "count_distinct")])
    assert defence == {
        "clip_videos": 4.0,
        "clipped_shoppers": pc.sum(pc.greater(lengths["video_id_count_distinct"], 4)).as_py(),
    }
