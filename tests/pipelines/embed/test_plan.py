"""What is embedded anew and what stays, without Ray: the plan is a pure function of tables."""

import hashlib
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import SourceError
from vrec.core.types import VideoRef
from vrec.encoders.config import EmbedConfig
from vrec.pipelines.embed.checkpoints import STATE
from vrec.pipelines.embed.plan import VideoHasher, deduplicate_refs, hash_contents, make_plan, recipe_digest
from vrec.pipelines.embed.stages import EmbedJob

RECIPE = "r1"


def state(*rows):
    return pa.Table.from_pylist(
        [
            {"video_id": i, "content_hash": h, "text_hash": t, "recipe": r, "error": e, "origin": o}
            for i, h, t, r, e, o in rows
        ],
        schema=STATE,
    )


def hashes(now, asked=None):
    def hash_now(refs):
        ids = refs["video_id"].to_pylist()
        if asked is not None:
            asked.extend(ids)
        # In another order, as tasks finish.
        ids = sorted(ids, reverse=True)
        return pa.table({"video_id": ids, "now_hash": pa.array([now.get(i) for i in ids], pa.string())})

    return hash_now


def refs_of(*ids):
    return deduplicate_refs([VideoRef(i, f"/v/{i}.mp4") for i in ids], "/v")


def test_only_what_changed_is_pending():
    refs, none = refs_of("same", "changed", "new", "other_recipe", "failed", "timed_out", "vanished_again")
    before = state(
        ("same", "h1", "", RECIPE, None, ""),
        ("changed", "h2", "", RECIPE, None, ""),
        ("other_recipe", "h3", "", "r0", None, ""),
        ("failed", "h4", "", RECIPE, "BlackVideo", "_parts/p.arrow"),
        ("timed_out", "h5", "", RECIPE, "DecodeTimeout", ""),
        ("vanished_again", None, "", RECIPE, "VanishedVideo", ""),
        ("gone", "h6", "", RECIPE, None, ""),
    )
    asked = []
    now = {"same": "h1", "changed": "h2!", "other_recipe": "h3", "failed": "h4", "timed_out": "h5"}
    plan = make_plan(refs, none, before, RECIPE, hashes(now, asked))
    assert plan.pending["video_id"].to_pylist() == [
        "changed",
        "new",
        "other_recipe",
        "timed_out",
        "vanished_again",
    ]
    assert plan.reused["video_id"].to_pylist() == ["same", "failed"]
    assert plan.parts == {"_parts/p.arrow": ["failed"]}
    assert plan.dropped == 1
    assert asked == ["same", "changed", "failed"], "nothing else is read just to be hashed"


def test_a_new_title_is_a_change():
    before, none = deduplicate_refs([VideoRef("a", "/a.mp4", "Red dress", ("dress",))], "/")
    after, _ = deduplicate_refs([VideoRef("a", "/a.mp4", "Blue dress", ("dress",))], "/")
    done = state(("a", "h", before["text_hash"][0].as_py(), RECIPE, None, ""))
    assert make_plan(before, none, done, RECIPE, hashes({"a": "h"})).pending.num_rows == 0
    assert make_plan(after, none, done, RECIPE, hashes({"a": "h"})).pending.num_rows == 1


def test_the_first_claim_to_an_id_wins_and_others_are_failures():
    refs, duplicates = deduplicate_refs([VideoRef("a", "/1"), VideoRef("b", "/2"), VideoRef("a", "/3")], "/")
    assert refs["uri"].to_pylist() == ["/1", "/2"]
    assert [(r["video_id"], r["uri"], r["error"]) for r in duplicates.to_pylist()] == [
        ("a", "/3", "DuplicateVideoId")
    ]
    assert "taken by /1" in duplicates["message"][0].as_py()


def test_an_empty_catalogue_is_refused():
    with pytest.raises(SourceError, match="no videos"):
        deduplicate_refs([], "/v")


IDS = st.sampled_from([f"v{i}" for i in range(6)])
ROW = st.tuples(
    IDS,
    st.sampled_from(["h0", "h1"]),
    st.just(""),
    st.sampled_from(["r0", RECIPE]),
    st.sampled_from([None, "TooShort", "DecodeTimeout"]),
    st.sampled_from(["", "_parts/a", "_parts/b"]),
)


@given(
    st.lists(IDS, min_size=1),
    st.lists(ROW, unique_by=lambda r: r[0]),
    st.dictionaries(IDS, st.sampled_from(["h0", "h1"])),
)
def test_every_id_is_pending_or_kept_and_never_both(ids, rows, now):
    refs, duplicates = refs_of(*ids)
    plan = make_plan(refs, duplicates, state(*rows), RECIPE, hashes(now))
    pending, kept = plan.pending["video_id"].to_pylist(), plan.reused["video_id"].to_pylist()
    assert Counter(pending + kept) == Counter(set(ids))
    assert plan.total == len(ids)
    for i in kept:
        (row,) = (r for r in rows if r[0] == i)
        assert now.get(i) == row[1]
        assert row[3] == RECIPE
        assert row[4] != "DecodeTimeout"


def test_only_settings_that_change_vectors_change_the_recipe():
    def recipe(**embed):
        return recipe_digest(EmbedConfig.model_validate(embed), {"frames": "cnn@1"})

    base = recipe()
    assert base == recipe(batch_size=3, workers=1, decode={"timeout_s": 5.0})
    assert base != recipe(sample={"frames": 4})
    assert base != recipe_digest(EmbedConfig(), {"frames": "cnn@2"})


def test_a_change_of_decoding_embeds_everything_again_and_a_decoder_s_other_name_nothing(monkeypatch):
    def recipe(**decode):
        return recipe_digest(EmbedConfig.model_validate({"decode": decode}), {"frames": "cnn@1"})

    base = recipe()
    assert base == recipe(decoder="auto") == recipe(decoder="pyav")
    assert base != recipe(decoder="decord")
    monkeypatch.setattr("vrec.pipelines.embed.plan.DECODING_VERSION", 99)
    assert recipe() != base


@pytest.mark.parametrize("setting", ["timeout_s", "wall_timeout_s", "max_memory_mb", "threads"])
def test_limits_of_decoding_change_no_recipe_and_what_is_decoded_does(setting):
    names = {"frames": "cnn@1"}
    base = recipe_digest(EmbedConfig(), names)
    given = getattr(EmbedConfig().decode, setting)
    changed = EmbedConfig.model_validate({"decode": {setting: (given or 1) + 1}})
    assert recipe_digest(changed, names) == base
    for other in (
        {"decode": {"fit": "crop"}},
        {"audio": {"enabled": False}},
        {"quality": {"min_duration_s": 3}},
    ):
        assert recipe_digest(EmbedConfig.model_validate(other), names) != base, other


def test_text_is_hashed_only_where_there_is_some():
    refs, _ = deduplicate_refs(
        [VideoRef("a", "/a"), VideoRef("b", "/b", "Mug"), VideoRef("c", "/c", None, ("x",))], "/"
    )
    assert [bool(text) for text in refs["text"].to_pylist()] == [False, True, True]
    first, *others = refs["text_hash"].to_pylist()
    assert first == ""
    assert len({*others, ""}) == 3


def test_bytes_are_hashed_here_without_a_cluster_and_null_where_they_cannot_be_read(tmp_path):
    ids = [f"v{i:03}" for i in range(130)]
    for i in ids[:-1]:
        (tmp_path / i).write_bytes(i.encode())
    refs, _ = deduplicate_refs([VideoRef(i, str(tmp_path / i)) for i in ids], "/")
    job = EmbedJob(str(tmp_path), EmbedConfig(), "r")

    def connect():
        raise AssertionError("reached a cluster")

    found = hash_contents(refs, job, connect)
    assert found["video_id"].to_pylist() == ids
    expected = [hashlib.sha256(i.encode()).hexdigest() for i in ids[:-1]]
    assert found["now_hash"].to_pylist() == [*expected, None]


def test_a_file_above_the_limit_has_no_hash(tmp_path):
    for name in ("a", "bb"):
        (tmp_path / name).write_bytes(name.encode())
    batch = pa.table({"video_id": ["a", "bb"], "uri": [str(tmp_path / "a"), str(tmp_path / "bb")]})
    hashes = VideoHasher(max_bytes=1)(batch)["now_hash"].to_pylist()
    assert [h is None for h in hashes] == [False, True]
