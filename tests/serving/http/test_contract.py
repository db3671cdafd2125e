"""Random requests of the OpenAPI document: every response is one that it documents."""

import json
from datetime import UTC, datetime

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from vrec.serving.http.keys import create_key

SETTINGS = """
seed = 7
[generation]
deterministic = true
max-examples = EXAMPLES
database = "none"
no-shrink = true
[phases.stateful]
enabled = false
[analysis.constants]
# Words of the code would stand in for values of formats, such as cursors and expressions.
enabled = false
[[operations]]
# The document cannot express that bytes must be a video, that a URI must lie below a root, that a rule must
# end after it starts, that a condition must name its version, that names of slots must differ, that beats are
# of streams that differ, that shares must add up to 1, that an example must not end before it starts, how
# long the settings let a message be, or that a form has exactly one shopper.
include-path = [
    "/v1/videos", "/v1/uploads", "/v1/rules/{rule_id}", "/v1/rules:preview", "/v1/recommend:slots",
    "/v1/streams:beat", "/v1/experiment", "/v1/moments:search", "/v1/moments:by-file", "/v1/assistant",
    "/v1/assistant:by-file",
]
checks.positive_data_acceptance.enabled = false
[[operations]]
# An id may have slashes, so that GET of this path is that of the shopper `ID/sessions`.
include-path = ["/v1/users/{user_id}/sessions"]
checks.unsupported_method.enabled = false
[[operations]]
# Schemathesis cannot vary a file beside optional fields one by one; it draws random forms all the same.
include-path = ["/v1/assistant:by-file"]
phases.coverage.enabled = false
"""
FREE = {"requests_per_second": 1e6, "burst": 1_000_000}


ROWS = st.fixed_dictionaries(
    {"video_id": st.sampled_from(["mugs/1", "none", ""])},
    optional={"price": st.floats(-1, 9), "uri": st.just("/x.mp4"), "creator_id": st.text(max_size=3)},
)
# The document cannot express what a cursor of the same request is: `before_call` leaves this one out.
NO_CURSOR = "no cursor"
schemathesis.openapi.format("vrec-cursor", st.just(NO_CURSOR))
# Nor the grammar of expressions.
schemathesis.openapi.format(
    "vrec-filter-expression", st.sampled_from(["price < 5", 'not (tag = "red" or category in ["mugs"])'])
)
schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(ROWS.map(json.dumps) | st.text(max_size=9), max_size=9).map(
        lambda rows: "\n".join(rows).encode()
    ),
)


@schemathesis.hook("before_call")
def near(context, case, kwargs):
    """Set times near now, and leave out cursors and versions: the document cannot express which are valid."""
    if case.path == "/v1/videos/{video_id}" and case.headers:
        case.headers.pop("If-Match", None)
    if case.query and case.query.get("cursor") == NO_CURSOR:
        del case.query["cursor"]
    page = case.body.get("page") if isinstance(case.body, dict) else None
    if isinstance(page, dict) and page.get("cursor") == NO_CURSOR:
        del case.body["page"]
    events = case.body.get("events", [case.body]) if isinstance(case.body, dict) else []
    for event in events if isinstance(events, list) else []:
        if isinstance(event, dict) and str(event.get("at"))[4:5] == "-" and "event_id" in event:
            event["at"] = datetime.now(UTC).isoformat()
        # Nor that a linked event has a domain.
        if isinstance(event, dict) and event.get("linked") is True and event.get("domain") is None:
            del event["linked"]
    # JSON Schema allows years and seconds in times that Python does not have, such as 0000 and 60.
    if isinstance(case.body, dict) and str(case.body.get("expires_at"))[4:5] == "-":
        case.body["expires_at"] = datetime.now(UTC).isoformat()


def wrong_with(app, examples, secret=None):
    """Return the failures that schemathesis finds with all its checks, and the number of responses."""
    key = f'[auth.openapi.key]\napi_key = "{secret}"\n' if secret else ""
    settings = SETTINGS.replace("EXAMPLES", str(examples))
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", app, config=SchemathesisConfig.from_str(settings + key)
    )

    found, seen = [], 0
    for event in from_schema(schema).execute():
        if isinstance(event, FatalError | NonFatalError):
            found.append(str(event))
        if isinstance(event, ScenarioFinished):
            seen += len(event.recorder.interactions)
            for name, checks in event.recorder.checks.items():
                case = event.recorder.cases[name].value
                failed = [one for one in checks if one.failure_info is not None]
                found += [f"{case.as_curl_command()}: {one.failure_info.failure}" for one in failed]
    return found, seen


@pytest.mark.timeout(900)
def test_every_response_is_documented(made):
    app, _ = made(security=FREE)
    found, seen = wrong_with(app, 10)
    assert not found, "\n\n".join(found)
    assert seen > 500


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_every_response_is_documented_with_keys(made):
    secret, entry = create_key("all:read+events+manage")
    app, _ = made({"VREC_API_KEYS": entry}, security=FREE)
    found, _ = wrong_with(app, 2, secret)
    assert not found, "\n\n".join(found)
