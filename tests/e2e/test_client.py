"""The generated part of the Python client, over the real deployments and a real server."""

import importlib
import io
import json
import time
import urllib.request
from http import HTTPStatus

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.e2e.page_shop import PageService
from tests.films import numbered, write_video
from vrec.serving.http.keys import create_key

OPERATIONS = {
    "converse", "converse_by_file", "get_conversation", "forget_conversation", "list_hand_overs",
    "recommend", "recommend_slots", "search", "similar_videos", "trending_videos", "popular_searches",
    "find_moments", "search_moments", "search_moments_by_file",
    "add_events", "remove_event", "get_user", "join_session",
    "get_consent", "put_consent", "list_consents", "export_user", "list_receipts",
    "export_events", "get_profile", "erase_profile",
    "arm_statistics", "list_videos", "get_video", "upload_video", "add_video", "update_video",
    "change_videos", "remove_video", "list_rules", "get_rule", "get_rule_history", "put_rule", "remove_rule",
    "preview_rule", "audit_log",
    "list_streams", "get_stream", "put_stream", "beat_stream", "beat_streams", "end_stream",
    "list_creators", "get_creator",
    "list_links", "put_link", "revoke_link", "list_linked_domains",
    "list_bundles", "move_bundle", "get_experiment", "put_experiment", "stop_experiment",
    "start_batch", "get_batch", "get_batch_result", "cancel_batch",
    "check_health", "check_readiness", "get_media",
}  # fmt: skip


@pytest.fixture(scope="module")
def served(page_shop, tmp_path_factory):
    """Serve the real deployments; yield the OpenAPI document, its URL, a key and a folder for media."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "media").mkdir()
    secret, entry = create_key("client:read+events+manage")
    more = {"security": {"media_roots": [str(folder / "media")]}}
    with PageService(page_shop, folder, {"VREC_API_KEYS": entry}, **more) as service:
        with urllib.request.urlopen(f"{service.address}/openapi.json", timeout=30) as answer:
            document = json.load(answer)
        yield document, service.address, secret, folder


@pytest.fixture
def client(client_site):
    """Return a function that imports a module of the generated client by its name."""
    return lambda name: importlib.import_module(f"vrec_client.generated.{name}")


def test_the_document_has_a_readable_id_for_each_operation_and_no_alternatives_beside_fields(
    served, client_generator
):
    document = served[0]
    assert document == client_generator.own_document()
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(OPERATIONS)
    assert set(ids) == OPERATIONS

    def check(schema):
        if isinstance(schema, dict):
            assert not ("properties" in schema and schema.keys() & {"oneOf", "anyOf", "allOf"}), schema
        for part in (
            schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
        ):
            check(part)

    check(document)


def test_each_model_of_the_client_has_every_field_of_its_schema(served, client):
    schemas, models = served[0]["components"]["schemas"], client("models")
    assert {"UserRecommendRequest", "SessionRecommendRequest", "UserEventRequest"} <= set(schemas)
    for name, schema in schemas.items():
        if "properties" in schema:
            fields = {field.rstrip("_") for field in getattr(models, name).__annotations__}
            assert set(schema["properties"]) <= fields, name


def test_the_client_drives_every_route(served, client):
    _, url, secret, folder = served
    models, types, api = client("models"), client("types"), _Calls(client, url, secret)
    asked = models.UserRecommendRequest(
        user_id="ann", k=5, kinds=[models.VideoKind.CLIP, models.VideoKind.PRODUCT]
    )
    answer = api.ok("lists.recommend", body=asked)
    first = answer.items[0]
    assert len(answer.items) == 5
    assert isinstance(first.price, float)
    _check_pages_and_named_videos(api, models, asked, answer)
    shown = {"video_id": first.video_id, "request_id": answer.request_id, "propensity": first.propensity}
    like = models.UserEventRequest(
        event_id="c1", user_id="ann", kind=models.EventKind.LIKE, position=0, **shown
    )
    watch = models.SessionEventRequest(
        event_id="c2", session_id="visit", kind=models.EventKind.WATCH, value=2.5, position=0, **shown
    )
    assert api.ok("events.add_events", 202, body=models.EventsRequest(events=[like, watch])).new == 2
    assert api.ok("events.add_events", 202, body=like).repeated == 1
    assert api.ok("events.get_profile", user_id="session:visit").history[0].video_id == first.video_id
    assert api.ok("events.arm_statistics").arms[0].name == "ranked"
    _check_users(api, models, first.video_id)
    table = pq.read_table(io.BytesIO(api.ok("events.export_events", limit=10).payload.read()))
    assert table.column("event_id").to_pylist() == ["c1", "c2"]
    assert len(api.ok("lists.similar_videos", video_id=first.video_id, k=3).items) == 3
    assert api.ok("lists.search", body=models.SearchRequest(text=first.category)).items
    _check_trends(api, models, first.video_id)
    _check_moments(api, models, types, first.video_id)
    _check_assistant(api, models, first.category)

    _check_catalog(api, models, types, folder)
    _check_rules(api, models, first.video_id)
    last = api.ok("audit.audit_log", limit=1).entries[0]
    assert (last.by, last.operation, last.target.additional_properties) == (
        "client", "get_rule_history", {"rule_id": "p"},
    )  # fmt: skip
    _check_streams(api, models)
    _check_creators(api, models, first.video_id)
    _check_links(api, models)
    _check_consents(api, models)
    _check_batches(api, models)
    _check_bundles(api, models)
    _check_experiment(api, models)
    # One of them is what the assistant was asked for.
    assert api.ok("events.erase_profile", user_id="ann").erased == 3
    assert (
        api.detailed("events.get_profile", user_id="ann").parsed.type_ == "urn:vrec:problem:unknown-profile"
    )
    assert api.ok("pages.check_health").status == "ok"
    assert api.ok("pages.check_readiness").ready
    assert api.called == OPERATIONS


def _check_pages_and_named_videos(api, models, asked, answer):
    first = answer.items[0].video_id
    page = models.ListPage(request_id=answer.request_id, cursor=answer.next_cursor)
    asked.page = page
    second = api.ok("lists.recommend", body=asked)
    assert (second.request_id, second.items[0].position) == (answer.request_id, 5)
    named = models.UserRecommendRequest(
        user_id="ann", candidates=[first, "none"], explain=True,
        for_=models.RelatedVideos(cart=[second.items[0].video_id]),
    )  # fmt: skip
    slots = [models.SlotRequest(name="a", k=3), models.SlotRequest(name="b", surface="home", explain=True)]
    found = api.ok("lists.recommend_slots", body=models.UserSlotsRequest(user_id="ann", slots=slots)).slots
    assert [(one.name, len(one.items)) for one in found] == [("a", 3), ("b", 20)]
    assert not {one.video_id for one in found[0].items} & {one.video_id for one in found[1].items}
    ranked = api.ok("lists.recommend", body=named)
    assert ([item.video_id for item in ranked.items], ranked.unknown) == ([first], ["none"])
    assert ranked.items[0].scores.additional_properties["popular"] > 0


def _check_users(api, models, video_id):
    """A session joins an account, and an event of it is removed."""
    joined = api.ok("users.join_session", user_id="ann", body=models.JoinSessionRequest(session_id="visit"))
    assert joined.events == 1
    again = models.SessionEventRequest(
        event_id="c3", session_id="visit", video_id=video_id, kind=models.EventKind.DISLIKE
    )
    api.ok("events.add_events", 202, body=again)
    shopper = api.ok("users.get_user", user_id="ann", limit=2)
    assert shopper.counts.to_dict() == {"dislike": 1, "like": 1, "watch": 1}
    assert ([row.event_id for row in shopper.recent], shopper.hidden) == (["c3", "c2"], [video_id])
    rest = api.ok("users.get_user", user_id="ann", cursor=shopper.next_cursor)
    assert [row.event_id for row in rest.recent] == ["c1"]
    assert api.detailed("events.remove_event", event_id="c3").status_code == HTTPStatus.NO_CONTENT
    other = models.JoinSessionRequest(session_id="visit")
    assert api.detailed("users.join_session", user_id="bob", body=other).parsed.status == HTTPStatus.CONFLICT


def _check_catalog(api, models, types, folder):
    """Videos are uploaded, added, changed, listed and removed."""
    film = write_video(folder / "media" / "a film.mp4", [numbered(n) for n in range(50)])
    fields = {"creator_id": "ann", "title": "A quokka", "tags": ["red", "big"], "category": "mugs"}
    file = types.File(io.BytesIO(film.read_bytes()), "clip.mp4", "video/mp4")
    form = models.UploadVideoForm(file=file, video_id="new/1", price=12.34, **fields)
    assert api.ok("catalog.upload_video", 201, body=form).video_id == "new/1"
    by_uri = models.AddVideoRequest(uri=str(film), video_id="new/2", **fields)
    assert api.ok("catalog.add_video", 201, body=by_uri).modalities
    changed = api.ok(
        "catalog.update_video", video_id="new/1", body=models.UpdateVideoRequest(category="jars")
    )
    assert (changed.category, changed.price, changed.tags) == ("jars", 12.34, ["red", "big"])
    page = api.ok("catalog.list_videos", categories=["jars", "mugs"], creators=["ann"], limit=1)
    assert (page.found, page.videos[0].video_id) == (2, "new/1")
    page = api.ok(
        "catalog.list_videos", categories=["jars", "mugs"], creators=["ann"], cursor=page.next_cursor
    )
    assert ([one.video_id for one in page.videos], page.next_cursor) == (["new/2"], None)
    assert api.ok("catalog.get_video", video_id="new/1").recommendable
    row = models.BulkVideoRow(video_id="new/1", price=9.5)
    lines = [json.dumps(row.to_dict()), json.dumps({"video_id": "nowhere", "price": 1})]
    done = api.ok("catalog.change_videos", body=types.File(io.BytesIO("\n".join(lines).encode())))
    assert (done.updated, done.failed, done.failures[0].video_id) == (1, 1, "nowhere")
    assert api.ok("catalog.get_video", video_id="new/1").price == 9.5
    assert api.ok("pages.get_media", video_id="new/1").payload.read() == film.read_bytes()
    for video_id in ("new/1", "new/2"):
        assert api.detailed("catalog.remove_video", video_id=video_id).status_code == HTTPStatus.NO_CONTENT
    assert api.detailed("pages.get_media", video_id="new/1").parsed.status == 404


def _check_bundles(api, models):
    """The bundle in service is told; without a folder of bundles there is none to move to."""
    found = api.ok("bundles.list_bundles")
    assert (found.bundles, found.move, found.refused, found.in_service.name) == ([], None, None, None)
    assert found.in_service.videos > 0
    refused = api.detailed("bundles.move_bundle", body=models.MoveBundleRequest(bundle="none"))
    assert refused.parsed.type_ == "urn:vrec:problem:unknown-bundle"


def _check_experiment(api, models):
    """An A/B test is started and stopped, each by the version before."""
    arms = [models.ExperimentArm(name="a", share=0.5), models.ExperimentArm(name="b", share=0.5)]
    body, before = models.ExperimentRequest(salt="s", arms=arms), api.ok("experiment.get_experiment")
    assert (before.is_running, before.changed_at) == (False, None)
    started = api.ok("experiment.put_experiment", body=body, if_match=f'"{before.version}"')
    assert ([arm.name for arm in started.arms], started.changed_by) == (["a", "b"], "client")
    late = api.detailed("experiment.stop_experiment", winner="a", if_match=f'"{before.version}"')
    assert late.parsed.type_ == "urn:vrec:problem:experiment-changed"
    stopped = api.ok("experiment.stop_experiment", winner="b", if_match=f'"{started.version}"')
    assert [(arm.name, arm.share) for arm in stopped.arms] == [("b", 1.0)]


def _check_streams(api, models):
    began = api.ok(
        "streams.put_stream", 201, stream_id="s/1", body=models.StreamRequest(streamer_id="ann", title="Hats")
    )
    assert (began.live, began.viewers) == (True, None)
    beat = api.ok("streams.beat_stream", stream_id="s/1", body=models.BeatRequest(viewers=7))
    assert (beat.viewers, api.ok("streams.get_stream", stream_id="s/1").viewers) == (7, 7)
    named = [models.NamedBeat(stream_id=name, viewers=8) for name in ("none", "s/1")]
    beats = api.ok("streams.beat_streams", body=models.BeatsRequest(beats=named)).beats
    assert [(one.stream_id, str(one.outcome)) for one in beats] == [("none", "unknown"), ("s/1", "live")]
    assert [one.stream_id for one in api.ok("streams.list_streams").streams] == ["s/1"]
    asked = models.UserRecommendRequest(user_id="ann", kind=models.RecommendKind.STREAM)
    assert [item.video_id for item in api.ok("lists.recommend", body=asked).items] == ["s/1"]
    assert api.detailed("streams.end_stream", stream_id="s/1").status_code == HTTPStatus.NO_CONTENT
    assert api.ok("lists.recommend", body=asked).items == []


def _check_creators(api, models, video_id):
    card = api.ok("catalog.get_video", video_id=video_id)
    page = api.ok("creators.list_creators", limit=1)
    assert (len(page.creators), page.found > 1) == (1, True)
    profile = api.ok("creators.get_creator", creator_id=card.creator_id)
    assert (profile.videos >= 1, profile.activity.follows) == (True, 0)
    asked = models.UserRecommendRequest(user_id="ann", kind=models.RecommendKind.CREATOR, k=100)
    found = api.ok("lists.recommend", body=asked).creators
    assert card.creator_id in [one.creator_id for one in found]
    event = models.UserEventRequest(
        event_id="f1",
        user_id="ann",
        video_id=f"creator:{card.creator_id}",
        kind=models.EventKind.FOLLOW,
    )
    api.ok("events.add_events", 202, body=event)
    followed = api.ok("lists.recommend", body=asked).creators
    assert [one.creator_id for one in followed if one.creator_id == card.creator_id] == []
    assert api.ok("creators.get_creator", creator_id=card.creator_id).activity.follows == 1
    assert api.detailed("events.remove_event", event_id="f1").status_code == HTTPStatus.NO_CONTENT


def _check_links(api, models):
    body = models.LinkRequest(other_user_id="a-1", consent=True)
    made = api.ok("links.put_link", 201, domain="social", user_id="ann", body=body)
    assert made.revoked_at is None
    found = api.ok("links.list_linked_domains", user_id="ann").domains
    assert [(one.domain, one.counts) for one in found] == [("social", True)]
    taken = api.detailed("links.put_link", domain="social", user_id="bob", body=body)
    assert taken.parsed.type_ == "urn:vrec:problem:link-taken"
    assert api.ok("links.revoke_link", domain="social", user_id="ann").revoked_at is not None
    assert [one.other_user_id for one in api.ok("links.list_links", user_id="ann").links] == ["a-1"]


def _check_consents(api, models):
    """An answer is put, read and listed."""
    put = api.ok("users.put_consent", user_id="bob", body=models.ConsentRequest(train=False))
    assert put == api.ok("users.get_consent", user_id="bob")
    assert [(one.purpose, one.given) for one in put.consents] == [
        (models.ConsentPurpose.PERSONALISE, True),
        (models.ConsentPurpose.TRAIN, False),
        (models.ConsentPurpose.LINK, True),
    ]
    assert [one.user_id for one in api.ok("users.list_consents").consents] == ["bob"]
    record = api.ok("users.export_user", user_id="bob").additional_properties
    assert record["receipt"]["counts"]["consents"] == 1
    assert [one.what for one in api.ok("users.list_receipts").receipts] == ["access"]


def _check_batches(api, models):
    """The lists of two shoppers come as a table."""
    body = models.BatchRequest(user_ids=["ann", "bob"], k=3)
    made = api.ok("batches.start_batch", 202, body=body)
    for _ in range(300):
        state = api.ok("batches.get_batch", batch_id=made.batch_id)
        if state.state == models.BatchStateName.DONE:
            break
        time.sleep(0.1)
    assert (state.state, state.done) == (models.BatchStateName.DONE, 2)
    result = api.ok("batches.get_batch_result", batch_id=made.batch_id).payload.read()
    assert pq.read_table(io.BytesIO(result)).column("user_id").to_pylist() == ["ann"] * 3 + ["bob"] * 3
    cancelled = api.detailed("batches.cancel_batch", batch_id=made.batch_id)
    assert cancelled.status_code == HTTPStatus.NO_CONTENT


def _check_assistant(api, models, category):
    asked = models.UserAssistantRequest(user_id="ann", message=category, message_id="m")
    answer = api.ok("assistant.converse", body=asked)
    assert answer.kind == models.AssistantAnswerKind.CARDS
    assert {card.category for card in answer.cards} == {category}
    key = answer.constraints[0].key
    assert key == f"category:{category}"
    asked = models.UserAssistantRequest(user_id="ann", remove=key, language=models.AssistantLanguage.ZH)
    less = api.ok("assistant.converse", body=asked)
    assert (less.constraints, less.language, less.turn) == ([], models.AssistantLanguage.ZH, 2)
    kept = api.ok("assistant.get_conversation", user_id="ann")
    assert [turn.message for turn in kept.turns] == [category, ""]
    assert kept.last.to_dict() == less.to_dict()
    person = models.UserAssistantRequest(user_id="ann", message="talk to a person")
    assert api.ok("assistant.converse", body=person).hand_over
    page = api.ok("assistant.list_hand_overs")
    assert [turn.message for turn in page.hand_overs[0].turns][-1] == "talk to a person"
    assert api.ok("assistant.list_hand_overs", cursor=page.next_cursor).hand_overs == []
    api.ok("assistant.forget_conversation", 204, user_id="ann")
    assert api.ok("assistant.get_conversation", user_id="ann").turns == []


def _check_moments(api, models, types, video_id):
    """The bundle of the page has no moments, which each route says; a search goes on without them."""
    asked = models.SearchRequest(text="video", k=2, moments=True)
    assert all(item.moments == [] for item in api.ok("lists.search", body=asked).items)
    some = models.MomentsRequest(video_id=video_id, start_s=0.0, end_s=1.5)
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 0, 0)).save(picture, "PNG")
    picture.seek(0)
    form = models.ExampleForm(file=types.File(io.BytesIO(picture.getvalue()), "a.png", "image/png"), k=3)
    shown = models.AssistantForm(file=types.File(picture, "a.png", "image/png"), user_id="ann")
    for answer in (
        api.detailed("assistant.converse_by_file", body=shown),
        api.detailed("moments.find_moments", video_id=video_id, q="zip"),
        api.detailed("moments.search_moments", body=some),
        api.detailed("moments.search_moments_by_file", body=form),
    ):
        assert (answer.status_code, answer.parsed.type_) == (404, "urn:vrec:problem:no-moments")


def _check_trends(api, models, video_id):
    """Two shoppers make a video a trend, once the service has read the log."""
    hour = models.TrendWindow.VALUE_0
    assert str(hour) == "1h"
    for _ in range(100):
        found = api.ok("lists.trending_videos", window=hour, k=3)
        if found.items:
            break
        time.sleep(0.1)
    assert ([one.video_id for one in found.items], found.window) == ([video_id], hour)
    assert found.items[0].scores.additional_properties["shoppers"] == 2
    searches = api.ok("lists.popular_searches", window=hour, k=3)
    assert (searches.searches, searches.window) == ([], hour)


def _check_rules(api, models, video_id):
    pin = models.PinRule(kind="pin", video_id=video_id, position=1)
    draft = models.RulePreviewRequest(rule_id="p", rule=pin, shoppers=["ann", "bob"], k=5)
    preview = api.ok("rules.preview_rule", body=draft)
    assert [one.after[1] for one in preview.lists] == [video_id] * 2
    made = api.ok("rules.put_rule", 201, rule_id="p", body=pin)
    assert (made.changed_by, made.rule.position) == ("client", 1)
    assert api.ok("rules.get_rule", rule_id="p") == made
    ban = models.BanRule(kind="ban", videos=models.MatchingVideos(expression='category = "mugs"'))
    tag = f'"{made.version}"'
    assert api.ok("rules.put_rule", rule_id="p", body=ban, if_match=tag).rule.videos.expression
    assert api.detailed("rules.put_rule", rule_id="p", body=ban, if_match=tag).status_code == 412
    assert [one.rule_id for one in api.ok("rules.list_rules").rules] == ["p"]
    assert api.detailed("rules.remove_rule", rule_id="p", if_match="*").status_code == HTTPStatus.NO_CONTENT
    assert [one.rule and one.rule.kind for one in api.ok("rules.get_rule_history", rule_id="p").versions] == [
        None, "ban", "pin",
    ]  # fmt: skip


class _Calls:
    """Calls of the generated client, with a key."""

    def __init__(self, client, url, secret):
        self._import, self.called = client, set()
        self._client = client("client").AuthenticatedClient(base_url=url, token=secret)

    def detailed(self, operation, **more):
        self.called.add(operation.partition(".")[2])
        return self._import(f"api.{operation}").sync_detailed(client=self._client, **more)

    def ok(self, operation, status=200, **more):
        response = self.detailed(operation, **more)
        assert response.status_code == status, response.content
        return response.parsed
