"""Errors as problem documents: kinds, status codes, what the client sees and what the log gets."""

import inspect
import logging
import pickle
import re
from pathlib import Path

import pytest
from fastapi import HTTPException
from pydantic import BaseModel, ValidationError
from ray.exceptions import RayTaskError

import vrec.core.errors as core
from tests.serving.http.client import call
from vrec.core.errors import (
    EmptyVideo,
    EventsError,
    OutputError,
    SchemaError,
    ServeError,
    SourceError,
    StoreError,
    TooLarge,
    VideoError,
)
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo
from vrec.serving.http.errors import (
    _KINDS,
    MAX_FIELD_PROBLEMS,
    HttpProblem,
    error_responses,
    log_error,
    problem_response,
    to_problem,
    validation_problem,
)

API_JS = Path(__file__).resolve().parents[3] / "vrec" / "serving" / "web" / "api.js"


@pytest.mark.parametrize(
    ("error", "status", "name", "retry"),
    [
        (UnknownVideo("v"), 404, "unknown-video", False),
        (TooLarge("v"), 422, "unusable-video", False),
        (EventsError("e"), 422, "unusable-events", False),
        (SchemaError("e"), 422, "unusable-events", False),
        (SourceError("u"), 422, "unreachable-video", False),
        (BackendUnavailable("killed"), 503, "busy", True),
        (TimeoutError(), 503, "busy", True),
        (StoreError("/srv/store.db"), 503, "store-away", True),
        (OutputError("/srv/data"), 503, "no-room", True),
        (ServeError("no encoder"), 503, "not-served", True),
        (RuntimeError("/srv/secret"), 500, "internal-error", False),
        (KeyError("v"), 500, "internal-error", False),
        (HTTPException(404), 404, "not-found", False),
        (HTTPException(418, "a teapot"), 418, "i'm-a-teapot", False),
    ],
)
def test_each_error_has_its_problem(error, status, name, retry):
    problem = to_problem(error)
    assert (problem.status_code, problem.name) == (status, name)
    assert dict(problem.headers or {}) == ({"Retry-After": "2"} if retry else {})
    assert "/srv" not in problem.detail


def test_a_problem_is_itself_and_keeps_its_headers():
    problem = HttpProblem(413, "too-large", "less", headers={"Connection": "close"})
    assert to_problem(problem) is problem
    response = problem_response(problem, "r-1")
    assert response.headers["connection"] == "close"
    assert response.media_type == "application/problem+json"
    assert response.body == (
        b'{"type":"urn:vrec:problem:too-large","title":"Too large","status":413,"detail":"less",'
        b'"request_id":"r-1","errors":[]}'
    )


def test_the_detail_has_message_and_fix_and_only_a_video_s_error_its_kind():
    assert (
        to_problem(EmptyVideo("no bytes", fix="send some")).detail == "EmptyVideo: no bytes. Fix: send some"
    )
    assert to_problem(SourceError("gone", fix="look")).detail == "gone. Fix: look"
    assert "send the request again" in to_problem(BackendUnavailable("killed")).detail


def test_the_page_hides_the_kind_of_every_video_error():
    (pattern,) = re.findall(r"FAILURE_KIND = /(.*)/;", API_JS.read_text())
    kinds = [one for one in vars(core).values() if isinstance(one, type) and issubclass(one, VideoError)]
    for kind in kinds:
        if kind is not VideoError:
            assert re.sub(pattern, "", to_problem(kind("the file is text")).detail).startswith(
                "the file is"
            ), kind
    assert re.sub(pattern, "", "Already: fine") == "Already: fine"


class Numbers(BaseModel):
    numbers: list[int]


def invalid(count):
    with pytest.raises(ValidationError) as raised:
        Numbers.model_validate({"numbers": ["x"] * count})
    return raised.value


def test_fields_are_counted_named_and_limited():
    one = validation_problem(invalid(1))
    assert (one.status_code, one.name) == (422, "invalid-request")
    assert one.detail.startswith("1 field is invalid: ")
    assert [field.where for field in one.errors] == ["numbers.0"]
    assert [field.where for field in validation_problem(invalid(2), 1).errors] == ["0", "1"]
    assert validation_problem(invalid(1), 2).errors[0].where == "body"
    full, more = (validation_problem(invalid(MAX_FIELD_PROBLEMS + extra)) for extra in (0, 1))
    assert full.detail.startswith("100 fields are invalid: ")
    assert more.detail.startswith("101 fields are invalid (the first 100 are listed): ")
    assert [len(problem.errors) for problem in (full, more)] == [100, 100]


def test_only_unexpected_errors_are_logged_with_a_traceback(caplog):
    with caplog.at_level(logging.ERROR, "vrec.http"):
        for error in (StoreError("full"), TimeoutError(), HTTPException(503), RuntimeError("a bug")):
            log_error("r-1", error)
    assert [bool(record.exc_info) for record in caplog.records] == [False, False, False, True]
    assert {record.request_id for record in caplog.records} == {"r-1"}
    assert caplog.records[0].getMessage() == "StoreError: full"


def test_client_errors_are_not_logged_and_failures_once(made, caplog):
    app, shop = made()
    call(app, "GET", "/v1/videos/none/similar")
    call(app, "GET", "/v1/none")
    assert not caplog.records
    shop.away = BackendUnavailable("killed")
    call(app, "GET", "/v1/videos/mugs%2F1/similar", headers={"x-request-id": "r-7"})
    assert [(one.name, one.request_id) for one in caplog.records] == [("vrec.http", "r-7")]


def test_allow_lists_the_methods_of_all_routes_of_a_path(made):
    app, _ = made()
    assert call(app, "PATCH", "/v1/events").headers["allow"] == "GET, HEAD, POST"
    assert call(app, "POST", "/v1/profiles/u").headers["allow"] == "DELETE, GET, HEAD"
    assert call(app, "GET", "/v1/recommend").headers["allow"] == "POST"


def test_error_responses_describe_problems():
    responses = error_responses(404, 429)
    assert [responses[status]["description"] for status in (404, 429)] == ["Not Found", "Too Many Requests"]
    schema = responses[404]["content"]["application/problem+json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ProblemDocument"}


@pytest.mark.parametrize("kind", [one for kind in _KINDS for one in kind.errors if one is not TimeoutError])
def test_an_error_of_another_process_keeps_its_class_and_what_it_says(kind):
    named = inspect.signature(kind).parameters.values()
    flags = {one.name: True for one in named if one.kind is one.KEYWORD_ONLY and one.name.startswith("is_")}
    error = kind("the reason", **flags)
    # As a reply of a replica brings it: the error of a task, whose cause is an exception of its class.
    reply = pickle.loads(pickle.dumps(RayTaskError("method", "a traceback", error)))
    found = reply.as_instanceof_cause().cause
    assert (type(found), str(found), vars(found)) == (kind, str(error), vars(error))
    assert to_problem(found).name == to_problem(error).name
