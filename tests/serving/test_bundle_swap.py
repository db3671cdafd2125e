"""The bundle in service: what is loaded, refused, remembered and taken back."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from vrec.core.errors import BundleError
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.observability import metrics


class Bundles:
    """Bundles by name, each with an encoder; one whose name begins with `bad` is damaged."""

    def __init__(self, **encoders):
        self.encoders, self.loads = encoders, []

    def load(self, uri):
        self.loads.append(uri)
        if uri.startswith("bad"):
            raise BundleError(f"{uri} is damaged")
        encoder = self.encoders.get(uri, "e@1")
        return SimpleNamespace(uri=uri, version=f"v-{uri}", encoder=encoder), f"loaded {uri}"


@pytest.fixture
def recorder(monkeypatch):
    here = metrics.InMemoryMetricsRecorder()
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: here)
    return here


def swap(served, *uris):
    """The results of moving to each bundle in turn."""

    async def run():
        return [await served.swap_to(uri) for uri in uris]

    return asyncio.run(run())


def test_the_same_bundle_is_not_loaded_again(tmp_path, recorder):
    bundles = Bundles()
    served = ServedBundle(str(tmp_path), bundles.load)
    assert (served.version, served.loaded) == ("", None)
    assert swap(served, "a", "a", "b", "a") == [True, False, True, True]
    assert bundles.loads == ["a", "b", "a"]
    assert (served.version, served.loaded, served.refused) == ("v-a", "loaded a", None)


def test_a_refused_bundle_changes_nothing_and_the_old_one_clears_the_refusal(tmp_path, recorder):
    bundles = Bundles()
    served = ServedBundle(str(tmp_path), bundles.load)
    assert swap(served, "a", "bad") == [True, False]
    assert (served.version, served.loaded) == ("v-a", "loaded a")
    assert served.refused == "bad is damaged", "which names it already"
    assert recorder.sums["vrec_bundle_refused",] == 1
    assert swap(served, "a") == [True]
    assert served.refused is None
    assert recorder.sums["vrec_bundle_refused",] == 0


def test_only_who_checks_bundles_remembers_the_good_ones(tmp_path, recorder):
    swap(ServedBundle(str(tmp_path), Bundles().load), "a")
    assert not (tmp_path / "served.json").exists()
    swap(ServedBundle(str(tmp_path), Bundles().load, remembers=True), "a", "bad")
    assert json.loads((tmp_path / "served.json").read_text()) == {
        "uri": "a",
        "version": "v-a",
        "encoder": "e@1",
        "previous": None,
    }
    moved = ServedBundle(str(tmp_path), Bundles(other="e@1").load, remembers=True)
    swap(moved, "a", "other", "other")
    assert json.loads((tmp_path / "served.json").read_text())["previous"] == "v-a"


def test_a_start_with_a_bad_bundle_takes_the_last_good_one_if_there_is_one(tmp_path, recorder):
    with pytest.raises(BundleError, match="bad is damaged"):
        swap(ServedBundle(str(tmp_path), Bundles().load), "bad")
    swap(ServedBundle(str(tmp_path), Bundles().load, remembers=True), "a")
    served = ServedBundle(str(tmp_path), Bundles().load)
    assert swap(served, "bad") == [True]
    assert (served.version, served.loaded) == ("v-a", "loaded a")
    assert "bad is damaged" in (served.refused or "")


def test_a_last_good_bundle_that_went_bad_is_tried_once(tmp_path, recorder):
    (tmp_path / "served.json").write_text(json.dumps({"uri": "bad", "version": "v", "encoder": "e@1"}))
    bundles = Bundles()
    with pytest.raises(BundleError, match="bad is damaged"):
        swap(ServedBundle(str(tmp_path), bundles.load), "bad")
    assert bundles.loads == ["bad"]


def test_of_two_bad_bundles_the_one_that_was_asked_for_is_named(tmp_path, recorder):
    (tmp_path / "served.json").write_text(json.dumps({"uri": "bad-old", "version": "v", "encoder": "e@1"}))
    bundles = Bundles()
    with pytest.raises(BundleError, match=r"^bad-new is damaged"):
        swap(ServedBundle(str(tmp_path), bundles.load), "bad-new")
    assert bundles.loads == ["bad-new", "bad-old"]


def test_a_bundle_of_another_encoder_than_the_profiles_is_refused(tmp_path, recorder):
    bundles = Bundles(other="e@2")
    served = ServedBundle(str(tmp_path), bundles.load, remembers=True)
    assert swap(served, "a", "other") == [True, False]
    assert "made with the encoder e@2, and the profiles here with e@1" in (served.refused or "")
    assert "a bundle made with that encoder, or serve this one with a new --data" in served.fix
    # Before there are profiles, any encoder will do.
    assert swap(ServedBundle(str(tmp_path / "new"), bundles.load), "other") == [True]


def test_a_damaged_memory_counts_as_none(tmp_path, recorder):
    (tmp_path / "served.json").write_text("{")
    assert swap(ServedBundle(str(tmp_path), Bundles().load), "a") == [True]


def test_a_bundle_must_be_named(tmp_path, recorder):
    bundles = Bundles()
    with pytest.raises(BundleError, match="no bundle is named") as error:
        swap(ServedBundle(str(tmp_path), bundles.load), "")
    assert "vrec serve --bundle" in (error.value.fix or "")
    assert bundles.loads == []
