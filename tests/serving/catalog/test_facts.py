"""Metadata of videos as profiles need it: the bundle's, and that of the changes since."""

from types import SimpleNamespace

import pytest

from tests.serving.catalog.small import ENCODER, NOW, VECTORS, changed, content, removed
from vrec.serving.catalog.facts import CurrentVideoFacts


def facts(vectors=VECTORS, changes=()):
    bundle = SimpleNamespace(encoder=ENCODER if vectors else None, content=content(vectors=vectors))
    return CurrentVideoFacts(bundle).with_changes(changes)


def vector(known, video_id):
    (metadata,) = known.find([video_id]).values()
    return None if metadata.vector is None else metadata.vector.tolist()


def test_the_bundle_s_videos_are_known_and_others_are_not():
    found = facts().find(["a", "nobody", "c"])
    assert list(found) == ["a", "c"]
    assert found["a"].attributes == {
        "kind:product": 1.0, "creator:c": 1.0, "domain:d": 1.0, "tag:Red ": 1.0, "tag:sale": 1.0,
        "category:mugs": 1.0,
    }  # fmt: skip
    assert found["a"].vector.tolist() == [1.0, 0.0]
    assert found["c"].vector is None


@pytest.mark.parametrize("at_once", [True, False])
def test_changes_replace_attributes_and_keep_the_bundle_s_vector(at_once):
    changes = [changed("a", category="hats", duration_s=9.0), removed("b"), changed("n", vector=[0.0, 1.0])]
    known = facts(changes=changes) if at_once else facts().with_changes(changes)
    assert "category:hats" in known.find(["a"])["a"].attributes
    assert known.find(["a"])["a"].duration_s == 9.0
    assert vector(known, "a") == [1.0, 0.0]
    assert vector(known, "n") == [0.0, 1.0]
    assert known.find(["b"]) == {}


@pytest.mark.parametrize(
    ("given", "encoder"),
    [([0.0, 1.0], "other@1"), ([0.0, 1.0, 0.0], ENCODER), ([float("nan"), 1.0], ENCODER)],
)
def test_a_vector_that_does_not_fit_is_left_out_as_in_the_catalog(given, encoder):
    known = facts(
        changes=[changed("a", vector=given, encoder=encoder), changed("n", vector=given, encoder=encoder)]
    )
    assert vector(known, "a") == [1.0, 0.0]
    assert vector(known, "n") is None


def test_the_last_change_counts_and_the_old_facts_stay():
    first = facts()
    second = first.with_changes([changed("a", NOW + 2, vector=[0.0, 1.0])])
    third = second.with_changes([changed("a", NOW + 1), removed("c", NOW + 1)])
    assert vector(third, "a") == [1.0, 0.0]
    assert third.find(["c"]) == {}
    assert list(second.find(["c"])) == ["c"]
    assert vector(first, "a") == [1.0, 0.0]
    assert list(third.with_changes([changed("c", NOW + 2)]).find(["c"])) == ["c"]


def test_a_bundle_without_vectors_takes_none():
    known = facts(vectors={}, changes=[changed("a", vector=[1.0, 0.0])])
    assert vector(known, "a") is None
    assert vector(known, "b") is None
