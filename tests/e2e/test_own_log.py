"""A log without impressions, as many shops have it: from a CSV to lists over HTTP, without a ranker."""

import csv
import time

import pytest

from tests.e2e.conftest import vrec
from tests.e2e.ray_head import free_port
from tests.e2e.test_serve import event, post
from vrec.config.serve import ServeConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.serving.deploy import deploy_service, stop_service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
GROUPS = {"cooking": 8, "sport": 8}
"""Kinds of videos and their numbers; a shopper of the log likes one kind."""


@pytest.fixture
def shop(tmp_path):
    """log.csv of clicks and watches, under a shop's own names, and videos.csv with ids alone."""
    begun = int(time.time()) - 500_000
    with open(tmp_path / "log.csv", "w", newline="") as log:
        rows = csv.writer(log)
        rows.writerow(["uid", "item", "ts", "kind", "value"])
        for shopper in range(30):
            kind = list(GROUPS)[shopper % 2]
            for step in range(5):
                video, at = f"{kind}-{(shopper // 2 + step) % GROUPS[kind]}", begun + 1_000 * shopper + step
                rows.writerow([f"u{shopper}", video, at, "click", ""])
                rows.writerow([f"u{shopper}", video, at, "watch", 20 + step])
    ids = [f"{kind}-{number}" for kind, count in GROUPS.items() for number in range(count)]
    (tmp_path / "videos.csv").write_text("\n".join(["video_id", *ids]) + "\n")
    return tmp_path


def test_a_log_without_impressions_is_fitted_bundled_and_served(shop, ray_cluster, on_cluster):
    log = ["--events", shop / "log.csv", "--map", "user_id=uid,video_id=item,at=ts"]
    code, _, err = vrec("fit", *log, "--model", "item_knn", "--out", shop / "model", env=on_cluster)
    assert code == 0, err
    bundle = ["bundle", *log, "--videos", shop / "videos.csv", "--out", shop / "bundle"]
    code, out, err = vrec(*bundle, "--recommender", shop / "model")
    assert code == 0, err
    assert "of 16 videos, in the recommender's order" in out
    config = ServeConfig.model_validate(
        {
            "bundle": str(shop / "bundle"),
            "data": str(shop / "data"),
            "port": free_port(),
            "replicas": {"encoder": 0},
        }
    )
    with connect_cluster(ray_cluster.address):
        try:
            url = deploy_service(config)["url"]
            assert post(f"{url}/v1/events", event("new", "sport-2", "click"))[0] == 202
            status, answer = post(f"{url}/v1/recommend", {"user_id": "new", "k": 4})
            assert (status, answer["degraded"]) == (200, False)
            assert [item["video_id"].partition("-")[0] for item in answer["items"]] == ["sport"] * 4
            # Without a trained ranker nothing predicts clicks.
            assert all(item["p_click"] == 0 and item["source"] == "cf" for item in answer["items"])
            # A shopper of whom nothing is known gets popular videos.
            status, answer = post(f"{url}/v1/recommend", {"user_id": "nobody", "k": 4})
            assert (status, len(answer["items"])) == (200, 4)
            assert {item["source"] for item in answer["items"]} <= {"popular", "new"}
        finally:
            stop_service(config)
