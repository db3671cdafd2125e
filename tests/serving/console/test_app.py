"""Who gets into the console, what its forms need, and what its pages may contain."""

import math
import re
import time
from typing import get_args

import pytest

from tests.serving.console.conftest import Reader, text
from vrec.evaluation.health.alarms import AlarmState
from vrec.serving.console import sessions as module
from vrec.serving.console.labels import LABELS
from vrec.serving.console.pages import bundles, catalog, experiments, rules, shoppers
from vrec.serving.console.requests import local_path_of
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.health.hours import ModelHealth
from vrec.serving.http.schemas.videos import NotRecommendable

PAGES = ("/console", "/console/catalog", "/console/catalog/video?id=mugs%2F1", "/console/shoppers",
         "/console/shoppers/erase?user=u", "/console/bundles", "/console/experiments",
         "/console/catalog/uploads", "/console/health")  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{ 7 * 7 }}"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_needs_a_session_and_comes_back_to_where_one_wanted_to_go(keyed_console, path):
    app, _, secrets = keyed_console
    reader = Reader(app)
    reply = reader.get(path)
    assert (reply.status, reply.body) == (303, b"")
    target = reply.headers["location"]
    assert target.startswith("/console/sign-in?next=")
    reply = reader.post("/console/sign-in", {"key": secrets["ann"], "next": path}, page=target)
    assert (reply.status, reply.headers["location"]) == (303, path)
    assert reader.get(path).status == 200


def test_an_api_key_in_a_header_opens_no_page(keyed_console):
    app, _, secrets = keyed_console
    assert Reader(app, **{"x-api-key": secrets["ann"]}).get("/console").status == 303


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [("wrong", 401, "does not know this key"), ("", 401, "does not know"), ("shop", 403, "“manage”")],
)
def test_other_keys_are_refused(keyed_console, key, status, words):
    app, _, secrets = keyed_console
    reader = Reader(app)
    reply = reader.post("/console/sign-in", {"key": secrets.get(key, key)})
    assert (reply.status, words in text(reply)) == (status, True)
    assert reader.get("/console").status == 303


def test_the_cookie_is_hidden_from_scripts_and_other_sites_and_has_no_secret(keyed_console):
    app, _, secrets = keyed_console
    for headers, secure in (({}, False), ({"x-forwarded-proto": "https"}, True)):
        reply = Reader(app, **headers).post("/console/sign-in", {"key": secrets["ann"]})
        name, *attributes = re.split("; ?", reply.headers["set-cookie"])
        flags = {one.lower() for one in attributes}
        assert {"httponly", "samesite=strict", "path=/console", f"max-age={8 * 3_600}"} <= flags
        assert ("secure" in flags) == secure
        assert secrets["ann"] not in name


def test_sessions_end_with_their_time_their_key_and_the_signing_out(keyed_console, monkeypatch, made):
    app, _, secrets = keyed_console
    reader = Reader(app)
    reader.post("/console/sign-in", {"key": secrets["ann"]})
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "time", lambda: time.time_ns() / 1e9 + module.SESSION_S + 1)
        assert reader.get("/console").status == 303
    assert reader.get("/console").status == 303, "a page of the ended session began another one"
    reader.post("/console/sign-in", {"key": secrets["ann"]})
    assert reader.get("/console").status == 200
    # The same service, in which the key of this name has another secret now.
    again, _ = made({"VREC_API_KEYS": f"ann:manage:{'0' * 64}"})
    other = Reader(again)
    other.cookies = dict(reader.cookies)
    moved = other.get("/console")
    assert moved.status == 303
    assert "its key was removed or replaced" in text(other.get(moved.headers["location"]))
    stranger = Reader(again)
    assert 'role="alert"' not in text(stranger.get(stranger.get("/console").headers["location"]))
    assert reader.post("/console/sign-out", {}, page="/console").status == 303
    assert reader.get("/console").status == 303


def test_a_changed_or_foreign_cookie_is_no_session(reader):
    name, value = next(iter(reader.cookies.items()))
    body, _, signature = value.partition(".")
    for wrong in (
        "",
        "x",
        f"{body}.",
        f"{body}.{signature[:-2]}xx",
        f"{body[:-4]}abcd.{signature}",
        "é.é",
        "a.b.c",
    ):
        reader.cookies[name] = wrong
        assert reader.get("/console", **({"cookie": f"{name}={wrong}"} if wrong else {})).status == 303


@pytest.mark.parametrize("path", ["/console/catalog/video", "/console/catalog/availability",
                                  "/console/shoppers/erase", "/console/sign-out",
                                  "/console/language"])  # fmt: skip
def test_a_form_without_the_token_of_its_session_changes_nothing(keyed_console, reader, path):
    app, shop, _ = keyed_console
    stranger = Reader(app)
    fields = {"id": "mugs/1", "available": "no", "user": "u", "again": "u", "language": "zh"}
    for token in ("", "x.y", stranger.token("/console/sign-in"), "é"):
        reply = reader.post(path, fields | {"token": token})
        assert reply.status == 403
        assert "another session" in text(reply)
    assert shop.cards_now["mugs/1"]["available"] is True
    assert reader.get("/console").status == 200


def test_a_token_of_any_page_of_the_session_fits_and_no_two_pages_have_the_same(reader):
    tokens = {reader.token("/console") for _ in range(5)}
    assert len(tokens) == 5
    for token in tokens:
        assert reader.post("/console/language", {"language": "en", "token": token}).status == 303


def test_a_form_of_another_site_is_refused(reader):
    fields = {"id": "mugs/1", "available": "no"}
    assert reader.post("/console/catalog/availability", fields, origin="https://evil.test").status == 403
    reply = reader.post("/console/catalog/availability", fields, **{"content-type": "text/plain"})
    assert reply.status == 415


@pytest.mark.parametrize(
    ("target", "allowed"),
    [("/console/catalog?text=a b".replace(" ", "%20"), True), ("/console", False), ("/console?days=7", True),
     ("https://evil.test", False), ("//evil.test", False), ("/console//evil.test", False),
     ("/console/\\evil.test", False), ("/consoles", False), ("/console/a\nb", False), ("", False)],
)  # fmt: skip
def test_a_form_leads_to_pages_of_the_console_only(target, allowed):
    assert local_path_of(target) == (target if allowed else "/console")


def test_a_service_without_keys_lets_everybody_in_and_says_so(made):
    app, shop = made()
    reader = Reader(app)
    assert "runs without keys" in text(reader.get("/console"))
    assert reader.get("/console/sign-in").headers["location"] == "/console"
    fields = {"id": "mugs/1", "available": "no", "next": "/console/catalog"}
    assert reader.post("/console/catalog/availability", fields | {"token": "x"}).status == 403
    reply = reader.post("/console/catalog/availability", fields, page="/console")
    assert (reply.status, reply.headers["location"]) == (303, "/console/catalog?done=hidden")
    assert shop.cards_now["mugs/1"]["available"] is False


@pytest.mark.parametrize("path", [*PAGES, "/console/sign-in", "/console/static/console.css"])
def test_every_answer_has_the_headers_of_a_page_without_inline_code(reader, path):
    reply = reader.get(path)
    assert reply.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src"
    )
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert not re.search(rb"<script(?![^>]* src=)|<style| style=| on[a-z]+=", reply.body)


@pytest.mark.parametrize("path", ["/console/catalog", "/console/catalog/video?id=mugs%2F1",
                                  "/console/shoppers?user=u", "/console/shoppers/erase?user=u"])  # fmt: skip
def test_titles_names_and_ids_are_texts_and_no_code(keyed_console, reader, path):
    _, shop, _ = keyed_console
    for name in ("title", "category", "creator_id", "language"):
        shop.cards_now["mugs/1"][name] = HOSTILE
    shop.cards_now["mugs/1"]["tags"] = [HOSTILE]
    plain = reader.get(
        path.replace("user=u", "user=%3Cscript%3Ealert(3)%3C/script%3E&text=%22%3E%3Cscript%3E")
    )
    assert b"<script>" not in plain.body
    assert b"<img" not in plain.body
    assert b"49" not in re.sub(rb'token" value="[^"]*"', b"", plain.body)


def test_errors_are_pages_in_the_readers_language(reader):
    reply = reader.get("/console/catalog/video?id=none", **{"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"})
    assert reply.status == 404
    assert "没有这个页面或视频" in text(reply)
    assert 'lang="zh-Hans"' in reply.body.decode()
    assert "/console/videos" in text(reader.get("/console/videos"))
    assert reader.get("/console/videos").status == 404
    assert reader.get("/console/catalog?cursor=wrong").status == 422
    assert reader.get("/console/catalog?category=%01").status == 422


def test_every_reason_against_a_video_has_a_text():
    assert set(get_args(NotRecommendable.__value__)) <= set(LABELS["rule"])


FORMS = [path for module in (bundles, catalog, experiments, rules, shoppers)
         for method, path, _ in module.ROUTES if method == "POST"]  # fmt: skip


@pytest.mark.parametrize("path", [*FORMS, "/sign-in", "/sign-out", "/language"])
def test_the_language_of_a_refused_form_is_changed_on_a_page_that_can_be_loaded(reader, path):
    refused = reader.post(f"/console{path}", {"token": "wrong"})
    assert refused.status == 403
    target = re.search(r'name="next" value="([^"]*)"', refused.body.decode())[1]
    reply = reader.post("/console/language", {"language": "zh", "next": target})
    assert (reply.status, reply.headers["location"]) == (303, target)
    # One who is signed in is led on from the page of the sign-in.
    assert reader.get(target).status == (303 if target == "/console/sign-in" else 200)


def test_a_language_is_kept_once_it_is_chosen(reader):
    assert reader.post("/console/language", {"language": "zh", "next": "/console/health"}).status == 303
    assert "健康状况" in text(reader.get("/console/health", **{"accept-language": "en"}))
    assert reader.post("/console/language", {"language": "xx"}, page="/console").status == 422


def test_pages_answer_while_ranking_is_away(keyed_console, reader):
    _, shop, _ = keyed_console
    shop.away = TimeoutError("ranking")
    assert "A part does not answer" in text(reader.get("/console/health"))
    assert all(reader.get(path).status == 200 for path in PAGES)


def test_replicas_that_start_together_agree_on_the_signing_key(keyed_console, tmp_path):
    app, _, secrets = keyed_console
    first = Reader(app)
    first.post("/console/sign-in", {"key": secrets["ann"]})
    # Another replica wrote its own key after this one had read the file.
    (key_file,) = tmp_path.rglob(module.SIGNING_KEY)
    assert key_file.stat().st_mode & 0o077 == 0
    key_file.write_bytes(b"k" * 32)
    assert first.get("/console").status == 200


def test_a_page_names_the_key_and_nothing_of_its_secret(reader):
    assert re.search(r'<span class="soft">ann</span>', reader.get("/console").body.decode())


def test_offline_figures_are_those_of_the_manifest(reader):
    page = text(reader.get("/console/bundles"))
    assert re.search(r"Ranker.*auc\s+0\.7\s", page, re.DOTALL)


def test_the_console_is_not_in_the_api_document(keyed_console):
    app, _, _ = keyed_console
    assert "/console" not in str(app.openapi()["paths"])


def test_health_shows_the_models_last_hour_and_its_alarms(keyed_console, reader):
    _, shop, _ = keyed_console
    assert "No hour has been compared" in text(reader.get("/console/health"))
    alarms = (
        AlarmState("order", 1.0, 490_000, 0.52, 0.58),
        AlarmState("coverage", 0.25, None, math.nan, math.nan),
    )
    counts = {"impressions": 1200, "lists": 100, "shoppers": 90, "clicks": 60}
    shop.health = ModelHealth(490_001, "shop-1", {"click_gauc": 0.5213}, counts, alarms, 168)
    page = text(reader.get("/console/health"))
    assert "The order of lists has lost its skill since 2025-11-24 16:00 UTC" in " ".join(page.split())
    assert "0.5213" in page
    assert "1,200 impressions" in page
    assert "168 earlier hours" in page
    assert "none yet" in page


def test_health_is_shown_where_the_model_cannot_be_asked(keyed_console, reader, monkeypatch):
    _, shop, _ = keyed_console

    async def away():
        raise BackendUnavailable("away")

    monkeypatch.setattr(shop, "model_health", away)
    assert "cannot be read now" in text(reader.get("/console/health"))
