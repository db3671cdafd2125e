"""Request models: exact limits, and every field of a filter."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from vrec.serving.http.schemas.events import CLOCK_SKEW, EVENTS_BODY, MAX_EVENT_AGE, UserEventRequest
from vrec.serving.http.schemas.requests import RECOMMEND_BODY, ListFilters, SearchRequest
from vrec.serving.http.schemas.videos import NewVideoFields, UpdateVideoRequest
from vrec.serving.messages import RequestFilters

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def event_at(at):
    body = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click", "at": at.isoformat()}
    return UserEventRequest.model_validate_json(json.dumps(body), context={"now": NOW}).at


@pytest.mark.parametrize("at", [NOW, NOW + timedelta(minutes=5), NOW - timedelta(days=366)])
def test_an_event_s_time_may_lie_within_the_limits_and_on_them(at):
    assert event_at(at) == at


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (NOW + CLOCK_SKEW + SECOND, "more than 5 minutes after"),
        (NOW - MAX_EVENT_AGE - SECOND, "more than 366 days ago"),
    ],
)
def test_an_event_s_time_beyond_the_limits_is_refused(at, words):
    with pytest.raises(ValidationError, match=words):
        event_at(at)


@pytest.mark.parametrize("text", ["1766599200", "1766599200000", "1766599200.5", "-1", "0", "", "12:00Z"])
def test_a_time_is_a_date_and_not_a_number_in_quotes(text):
    """Seconds and milliseconds in quotes were taken as times, with a guessed unit."""
    event = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click", "at": text}
    for model, body in ((UserEventRequest, event), (UpdateVideoRequest, {"expires_at": text})):
        with pytest.raises(ValidationError, match="date and time with an offset, such as 2026-12-24T18"):
            model.model_validate_json(json.dumps(body))


@pytest.mark.parametrize("text", ["2026-12-24T18:00:00Z", "2026-12-24 19:00:00+01:00"])
def test_a_time_may_have_any_offset(text):
    parsed = UpdateVideoRequest.model_validate_json(json.dumps({"expires_at": text}))
    assert parsed.expires_at == datetime(2026, 12, 24, 18, tzinfo=UTC)


@pytest.mark.parametrize("absent", [{}, {"other": None}])
def test_exactly_one_of_user_and_session_is_given(absent):
    def parsed(**fields):
        other = {"session_id" if "user_id" in fields else "user_id": None} if absent else {}
        return RECOMMEND_BODY.validate_json(json.dumps(fields | other))

    assert parsed(user_id="u").user_key == "u"
    assert parsed(session_id="u").user_key == "session:u"
    for fields in ({}, {"user_id": "u", "session_id": "s"}, {"user_id": None, "session_id": None}):
        with pytest.raises(ValidationError, match=r"give (either|only one)"):
            RECOMMEND_BODY.validate_json(json.dumps(fields))


@pytest.mark.parametrize("user_id", ["session:", "session:s", "session:session:s"])
def test_no_user_id_lies_in_the_namespace_of_sessions(user_id):
    event = {"event_id": "e", "user_id": user_id, "video_id": "v", "kind": "click"}
    bodies = (
        (RECOMMEND_BODY, {"user_id": user_id}),
        (EVENTS_BODY, event),
        (EVENTS_BODY, {"events": [event]}),
    )
    for adapter, body in bodies:
        with pytest.raises(ValidationError, match="may not begin with session:"):
            adapter.validate_json(json.dumps(body))
    for harmless in ("session", "Session:s", "u session:s"):
        assert RECOMMEND_BODY.validate_json(json.dumps({"user_id": harmless})).user_key == harmless


@pytest.mark.parametrize("given", [" ", " u", "u ", "\u0001", ""])
@pytest.mark.parametrize("field", ["user_id", "session_id", "exclude"])
def test_an_id_has_no_spaces_around_it(field, given):
    body = {"user_id": "u", "exclude": [given]} if field == "exclude" else {field: given}
    with pytest.raises(ValidationError):
        RECOMMEND_BODY.validate_json(json.dumps(body))


@pytest.mark.parametrize(("k", "whole"), [("3.0", 3), ("1", 1), ("100", 100), ("1e2", 100)])
def test_whole_numbers_are_taken_in_either_notation(k, whole):
    request = SearchRequest.model_validate_json(f'{{"text": "red", "k": {k}}}')
    assert request.k == whole
    assert isinstance(request.k, int)


@pytest.mark.parametrize("k", ["0", "101", "3.5", "true", '"3"', "null", "NaN"])
def test_other_numbers_are_refused(k):
    with pytest.raises(ValidationError):
        SearchRequest.model_validate_json(f'{{"text": "red", "k": {k}}}')


def test_every_filter_goes_to_its_own_field():
    filters = ListFilters(
        categories=["mugs"], creators=["ann"], tags=["red"], languages=["en"], most_price=0.0,
        blocked_creators=["bob"], blocked_categories=["toys"],
    )  # fmt: skip
    assert filters.to_filters(["live"], ["v1", "v1"]) == RequestFilters(
        kinds=frozenset({"live"}),
        categories=frozenset({"mugs"}),
        creators=frozenset({"ann"}),
        tags=frozenset({"red"}),
        languages=frozenset({"en"}),
        most_price=0.0,
        exclude=frozenset({"v1"}),
        blocked_creators=frozenset({"bob"}),
        blocked_categories=frozenset({"toys"}),
    )
    assert ListFilters().to_filters([], []) == RequestFilters()


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("language", "zh-Hans", "x"),
        ("language", "en", "en_US"),
        ("price", 0.0, -0.01),
        ("price", 1e9, 1.1e9),
        ("price", 1.0, float("inf")),
        ("price", 1.0, float("nan")),
        ("title", "x" * 500, "x" * 501),
        ("title", "é", "a\x7f"),
        ("category", "x" * 100, ""),
        ("tags", ["x"] * 50, ["x"] * 51),
        ("kind", "live", "film"),
        ("video_id", "x" * 256, "x" * 257),
        ("video_id", "similar", "mugs/similar"),
        ("video_id", "a/similar/b", "/similar"),
    ],
)
def test_each_field_of_a_video_has_its_limits(field, good, bad):
    assert getattr(NewVideoFields.model_validate({"creator_id": "a", field: good}), field) == good
    with pytest.raises(ValidationError, match=field):
        NewVideoFields.model_validate({"creator_id": "a", field: bad})


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("propensity", 1.0, 0.0),
        ("propensity", 1e-9, 1.01),
        ("position", 0, -1),
        ("position", 32_767, 32_768),
        ("value", 0.0, -1.0),
        ("event_id", "x" * 128, "x" * 129),
        ("surface", "a-b_1", "A"),
        ("surface", "x" * 32, "x" * 33),
    ],
)
def test_each_field_of_an_event_has_its_limits(field, good, bad):
    event = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "watch"}
    assert getattr(UserEventRequest.model_validate(event | {field: good}), field) == good
    with pytest.raises(ValidationError, match=field):
        UserEventRequest.model_validate(event | {field: bad})


def test_defaults_of_a_new_video_and_of_an_update():
    fields = NewVideoFields(creator_id="a")
    assert (fields.kind, fields.domain, fields.available, fields.tags) == ("clip", "shop", True, [])
    assert UpdateVideoRequest().model_dump(exclude_unset=True) == {}
