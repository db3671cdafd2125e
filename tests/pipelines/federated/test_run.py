"""`vrec federate` from paths to a model's folder, with clients in this process."""

import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.federated.logs import settings, write_logs
from tests.pipelines.federated.test_ranker import TRAINING, shops  # noqa: F401
from vrec.core.artifact import read_artifact
from vrec.core.compute import pc
from vrec.core.errors import PrivacyError
from vrec.pipelines.federated import run as module
from vrec.pipelines.federated import sources
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.pipelines.federated.run import federate
from vrec.pipelines.fit.private import privacy_report
from vrec.pipelines.inputs import InputPaths
from vrec.ranking.registry import load_ranker
from vrec.retrieval.federated.private import PrivateShard
from vrec.retrieval.registry import load_recommender


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    def run(task, sources, config, *, folder, key, address):
        assert address is None
        return FederatedRun(task, LocalPool(sources), config.federated, folder=folder, key=key).run()

    monkeypatch.setattr(module, "run_on_cluster", run)


def test_a_private_model_says_what_was_promised_and_where_the_ledgers_are(tmp_path):
    paths, out = write_logs(tmp_path / "logs"), str(tmp_path / "model")
    inputs = InputPaths("", videos=str(tmp_path / "logs" / "VIDEOS.parquet"))
    done = federate(paths, inputs, out, settings("privacy.epsilon=2"), model="item_knn")
    assert done["rounds"] == 3
    promise = read_artifact(out).metrics["privacy"]
    assert (promise["epsilon"], promise["unit"]) == (2, "one shopper added or removed")
    assert len(promise["mechanisms"]) == 3
    assert load_recommender(out).released_counts is not None
    ledger = f"{paths['shop0']}.privacy.jsonl"
    assert privacy_report(ledger, [])["spent"] == pytest.approx(2)
    with pytest.raises(PrivacyError, match="one per client, beside its events"):
        privacy_report(ledger, [out])


@pytest.mark.parametrize("more", [(), ("privacy.epsilon=2",)], ids=["", "private"])
def test_shoppers_without_consent_are_in_no_sum_of_their_client(tmp_path, monkeypatch, more):
    monkeypatch.setattr(sources, "PrivateShard", partial(PrivateShard, normals=np.zeros))
    paths = write_logs(tmp_path / "logs")
    inputs = InputPaths("", videos=str(tmp_path / "logs" / "VIDEOS.parquet"))
    consent = [str(tmp_path / "all.csv"), f"shop1={tmp_path / 'own.csv'}"]
    head = "user_id,purpose,given,at\n"
    (tmp_path / "all.csv").write_text(
        head + "".join(f"{n}-u3,train,no,2024-01-01\n1-u5,train,no,2024-01-01\n" for n in range(5))
    )
    (tmp_path / "own.csv").write_text(head + "1-u7,train,no,2024-01-01\n1-u7,link,yes,2024-01-01\n")
    done = federate(paths, inputs, str(tmp_path / "m"), settings(*more), model="ease", consent=consent)
    assert done["took_part"] == sorted(paths)
    for path in paths.values():
        events = pq.read_table(path)
        refused = pc.match_substring_regex(events.column("user_id"), "^1-u7$|^[0234]-u3$")
        pq.write_table(events.filter(pc.invert(refused)), path)
    alone = federate(paths, inputs, str(tmp_path / "alone"), settings(*more), model="ease")
    found, without = (read_artifact(str(tmp_path / name)) for name in ("m", "alone"))
    assert {name: array.tobytes() for name, array in found.arrays.items()} == {
        name: array.tobytes() for name, array in without.arrays.items()
    }
    assert found.metrics["federated"]["consent"] == done["consent"] == module.CLIENT_CONSENT
    assert "consent" not in alone


def test_a_client_whose_consents_cannot_be_read_is_left_out(tmp_path):
    paths = write_logs(tmp_path / "logs", clients=4)
    inputs = InputPaths("", videos=str(tmp_path / "logs" / "VIDEOS.parquet"))
    (tmp_path / "all.csv").write_text("user_id,purpose,given,at\nx,train,yes,2024-01-01\n")
    consent = [str(tmp_path / "all.csv"), f"shop1={tmp_path / 'absent.csv'}"]
    done = federate(paths, inputs, str(tmp_path / "m"), settings(), model="ease", consent=consent)
    assert done["took_part"] == ["shop0", "shop2", "shop3"]
    assert "absent.csv: no such file or folder" in done["left_out"]["shop1"]["reason"]


def test_links_of_a_client_bring_the_events_of_other_domains(tmp_path):
    paths, videos = write_logs(tmp_path / "logs"), tmp_path / "logs" / "VIDEOS.parquet"
    names = pq.read_table(videos).column("video_id").to_pylist()
    domains = ["blog" if name < "v05" else "shop" for name in names]
    pq.write_table(pa.table({"video_id": names, "domain": domains}), videos)
    (tmp_path / "links.csv").write_text(
        "user_id,other_domain,other_user_id,consented_at,revoked_at\n0-u1,blog,0-u2,2020-01-01,\n"
    )
    done = []
    for name, links in (("all", ()), ("linked", [f"shop0={tmp_path / 'links.csv'}"])):
        out = str(tmp_path / name)
        federate(paths, InputPaths("", videos=str(videos)), out, settings(), model="popular", links=links)
        done.append(dict(zip(names, read_artifact(out).arrays["released_counts"], strict=True)))
    events = pq.read_table(paths["shop0"])
    blog = pc.less(events.column("video_id"), "v05")
    lost = events.filter(blog).column("video_id").to_pylist()
    kept = events.filter(pc.and_(blog, pc.equal(events.column("user_id"), "0-u2")))
    expected = {name: done[0][name] - lost.count(name) for name in names}
    for name in kept.column("video_id").to_pylist():
        expected[name] += 1
    assert done[1] == expected


def test_a_ranker_s_folder_says_who_took_part(shops, tmp_path):  # noqa: F811
    logs, start = shops
    out = tmp_path / "ranker"
    done = federate(logs, InputPaths(""), str(out), settings(*TRAINING), model="ranker", start=start)
    assert done["took_part"] == sorted(logs)
    assert json.loads((out / "federated.json").read_text())["rounds"] == 4
    assert set(load_ranker(str(out)).metrics) == {"validation_loss"}
    assert not (out / "federated").exists()
