"""What Prometheus is told, by nodes in this process and by a node of Ray that exports it."""

import asyncio
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.catalog.journals import added, removed
from tests.serving.deployments.test_graph import ask, shown
from tests.serving.deployments.test_profiles import config_in, event, event_values
from tests.serving.direct import Direct
from tests.serving.http.client import call
from vrec.core.errors import BundleError, StoreError
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.observability import metrics
from vrec.serving.observability.exposition import cluster_metrics_text, merge_expositions, scrape_nodes
from vrec.serving.observability.requests import RequestMetricsMiddleware

ROOT = Path(__file__).resolve().parents[3]


def test_every_answer_event_and_change_is_counted(tmp_path, shop_bundle):
    async def run():
        config, told = config_in(tmp_path), metrics.InMemoryMetricsRecorder()
        profiles = Direct(ProfilesDeployment(config))
        ranking = Direct(RankingDeployment(config, profiles, None))
        api = ApiDeployment(config, ranking, profiles, None, told)
        for node in (profiles.node, ranking.node, api):
            await node.reconfigure({"bundle": shop_bundle.uri})
        answer = await api.recommend(ask())
        api.fallback(ask())
        now = time.time_ns() // 1000
        video = shown(answer)[0]
        old = event("a", video_id=video, at=now - 3_600_000_000)
        await api.apply(event_values(old, event("b", video_id=video, at=now)))
        await api.apply(event_values(event("a", video_id=video, at=now)))
        profiles.broken = StoreError("no room")
        with pytest.raises(StoreError):
            await api.apply(event_values(event("c", video_id=video)))
        await api.change(added("x"))
        await api.change(removed("x"))
        return answer, told

    answer, told = asyncio.run(run())
    assert told.sums["vrec_answers", "ranked", "feed"] == 2
    assert told.sums["vrec_degraded", "ranking"] == 1
    assert told.sums["vrec_candidates",] == answer.candidates
    assert told.counts["vrec_candidates",] == 1
    for stage, spent_ms in answer.spent_ms.items():
        assert told.sums["vrec_stage_seconds", stage] == pytest.approx(spent_ms / 1e3)
    assert told.sums["vrec_stage_seconds", "call"] * 1e3 > sum(answer.spent_ms.values())
    assert told.sums["vrec_events", "new"] == 2
    assert told.sums["vrec_events", "repeated"] == 1
    assert told.sums["vrec_events", "failed"] == 1
    assert 3600 <= told.sums["vrec_event_lag_seconds",] < 7200
    assert told.counts["vrec_apply_seconds",] == 2
    assert told.sums["vrec_catalogue_changes", "put"] == told.sums["vrec_catalogue_changes", "removed"] == 1


def test_a_refused_bundle_shows_until_a_sound_one_is_served(tmp_path, shop_bundle, monkeypatch):
    from vrec.bundle.catalog import BundleCatalog
    from vrec.serving.bundle_swap import ServedBundle

    here = metrics.InMemoryMetricsRecorder()
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: here)

    def load(uri):
        if uri == "bad":
            raise BundleError("bad")
        return BundleCatalog.load(shop_bundle.uri), uri

    async def run():
        served, seen = ServedBundle(str(tmp_path), load), []
        for uri in ("good", "bad", "other"):
            await served.swap_to(uri)
            seen.append(here.sums["vrec_bundle_refused",])
        return seen

    assert asyncio.run(run()) == [0, 1, 0]


def test_requests_are_counted_by_route_and_not_by_what_callers_write():
    app = FastAPI()
    app.add_api_route("/v1/videos/{video_id:path}", lambda video_id: video_id)
    told = metrics.InMemoryMetricsRecorder()
    app.add_middleware(RequestMetricsMiddleware, recorder=told)
    for number in range(3):
        assert call(app, "GET", f"/v1/videos/{number}").status == 200
    call(app, "GET", "/nothing/here")
    call(app, "BREW", "/v1/videos/1")
    assert told.counts == {
        ("vrec_http_seconds", "GET /v1/videos/{video_id:path}", "200"): 3,
        ("vrec_http_seconds", "other", "404"): 1,
        ("vrec_http_seconds", "other /v1/videos/{video_id:path}", "405"): 1,
    }


def test_callers_cannot_make_figures_without_end():
    surfaces = metrics.SurfaceLabels()
    named = {surfaces.name(f"s{number}") for number in range(1000)}
    assert len(named) == metrics.MAX_SURFACES + 1
    assert surfaces.name("s0") == "s0"
    assert surfaces.name("s999") == "other"


ONE = """# HELP ray_vrec_a_total what it is
# TYPE ray_vrec_a_total counter
ray_vrec_a_total{WorkerId="1"} 2.0
# HELP ray_other not ours
# TYPE ray_other gauge
ray_other 1.0
# HELP ray_vrec_b_seconds b
# TYPE ray_vrec_b_seconds histogram
ray_vrec_b_seconds_bucket{WorkerId="1",le="1.0"} 1.0
ray_vrec_b_seconds_bucket{WorkerId="1",le="+Inf"} 1.0
ray_vrec_b_seconds_count{WorkerId="1"} 1.0
ray_vrec_b_seconds_sum{WorkerId="1"} 0.5
"""


def test_nodes_texts_become_one_with_each_figure_described_once():
    text = "\n".join(merge_expositions([ONE, ONE.replace('"1"', '"2"')])) + "\n"
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(found) == {"ray_vrec_a", "ray_vrec_b_seconds"}
    assert {s.labels["WorkerId"]: s.value for s in found["ray_vrec_a"].samples} == {"1": 2.0, "2": 2.0}
    assert found["ray_vrec_b_seconds"].type == "histogram"
    assert len(found["ray_vrec_b_seconds"].samples) == 8
    assert text.count("# TYPE") == text.count("# HELP") == 2


def test_a_node_that_does_not_answer_is_named_and_left_out():
    class Node(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ONE.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"127.0.0.1:{server.server_address[1]}"
    try:
        said = scrape_nodes([there, "127.0.0.1:1"], timeout_s=5).decode()
    finally:
        server.shutdown()
    assert said.startswith("# 127.0.0.1:1 was left out: ")
    assert 'ray_vrec_a_total{WorkerId="1"} 2.0' in said
    assert "ray_other" not in said


def exported() -> set[str]:
    return {name for figure in metrics.METRICS for name in figure.exported}


def test_ray_exports_every_figure_under_the_names_listed(ray_cluster):
    import ray

    ray.init(address=ray_cluster.address, ignore_reinit_error=True, log_to_driver=False)
    try:
        tell = ray.remote(num_cpus=1)(tell_all)
        ray.get(tell.remote())
        until, found = time.monotonic() + 40, set[str]()
        while not exported() | set(metrics.NODE_NAMES) <= found and time.monotonic() < until:
            time.sleep(0.5)
            text = cluster_metrics_text().decode()
            found = set(re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE))
    finally:
        ray.shutdown()
    assert exported() | set(metrics.NODE_NAMES) <= found
    assert all(name.startswith(("ray_vrec_", "ray_serve_", *metrics.NODE_NAMES)) for name in found)
    stages = [line for line in text.splitlines() if line.startswith("ray_vrec_stage_seconds_count")]
    assert any('stage="y"' in line and line.endswith(" 1.0") for line in stages)


def tell_all() -> None:
    to = metrics.metrics_recorder()
    for figure in metrics.METRICS:
        to.record(figure, 1.0, **dict.fromkeys(figure.tags, "y"))
    # A process that ends before its figures were fetched takes them with it.
    time.sleep(8)


def test_the_dashboard_shows_figures_that_are_exported():
    board = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    named = {name for query in queries for name in re.findall(r"\bray_[a-z_]+", query)}
    assert named - exported() - {*metrics.SERVE_NAMES, *metrics.NODE_NAMES} == set()
    for figure in metrics.METRICS:
        assert named & set(figure.exported), f"{figure.name} is not shown"
    assert {*metrics.SERVE_NAMES, *metrics.NODE_NAMES} <= named
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    (variable,) = [v for v in board["templating"]["list"] if v["name"] == "datasource"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
