"""The OpenAPI document: references that resolve, descriptions, stable operations."""

import pytest

from tests.serving.http.client import call
from vrec.config.serve import ServeConfig
from vrec.serving.http.app import create_app
from vrec.serving.http.keys import create_key
from vrec.serving.http.schemas.event_kind import SENT_KINDS

OPERATIONS = {
    ("post", "/v1/recommend"), ("post", "/v1/recommend:slots"), ("get", "/v1/trending"),
    ("get", "/v1/videos/{video_id}/moments"), ("post", "/v1/moments:search"), ("post", "/v1/moments:by-file"),
    ("post", "/v1/assistant"), ("post", "/v1/assistant:by-file"),
    ("get", "/v1/assistant/{user_id}"), ("delete", "/v1/assistant/{user_id}"),
    ("get", "/v1/hand-overs"),
    ("get", "/v1/searches/popular"),
    ("post", "/v1/batches"), ("get", "/v1/batches/{batch_id}"), ("get", "/v1/batches/{batch_id}/result"),
    ("delete", "/v1/batches/{batch_id}"), ("post", "/v1/search"), ("get", "/v1/videos/{video_id}/similar"),
    ("post", "/v1/events"), ("get", "/v1/events"), ("delete", "/v1/events/{event_id}"),
    ("get", "/v1/users/{user_id}"), ("post", "/v1/users/{user_id}/sessions"),
    ("get", "/v1/users/{user_id}/consent"), ("put", "/v1/users/{user_id}/consent"), ("get", "/v1/consents"),
    ("get", "/v1/users/{user_id}/export"), ("get", "/v1/receipts"),
    ("get", "/v1/profiles/{user_id}"),
    ("delete", "/v1/profiles/{user_id}"), ("get", "/v1/arms"), ("post", "/v1/uploads"),
    ("post", "/v1/videos"), ("get", "/v1/rules"), ("get", "/v1/rules/{rule_id}"),
    ("put", "/v1/rules/{rule_id}"), ("delete", "/v1/rules/{rule_id}"),
    ("get", "/v1/rules/{rule_id}/history"), ("post", "/v1/rules:preview"), ("get", "/v1/audit"),
    ("get", "/v1/creators"), ("get", "/v1/creators/{creator_id}"),
    ("get", "/v1/streams"), ("get", "/v1/streams/{stream_id}"), ("put", "/v1/streams/{stream_id}"),
    ("delete", "/v1/streams/{stream_id}"), ("post", "/v1/streams/{stream_id}/beat"),
    ("post", "/v1/streams:beat"),
    ("get", "/v1/linked-domains"),
    ("get", "/v1/links"), ("put", "/v1/links/{domain}/{user_id}"), ("delete", "/v1/links/{domain}/{user_id}"),
    ("get", "/v1/videos"), ("post", "/v1/videos:bulk"),
    ("get", "/v1/videos/{video_id}"), ("patch", "/v1/videos/{video_id}"),
    ("delete", "/v1/videos/{video_id}"), ("get", "/healthz"),
    ("get", "/v1/bundles"), ("post", "/v1/bundles:move"),
    ("get", "/v1/experiment"), ("put", "/v1/experiment"), ("delete", "/v1/experiment"),
    ("get", "/readyz"), ("get", "/metrics"), ("get", "/media/{video_id}"),
}  # fmt: skip


@pytest.fixture
def document(made):
    return call(made()[0], "GET", "/openapi.json").json


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_of_the_document_resolves(document):
    found = set(references(document))
    assert len(found) > 10
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert found <= names


def test_the_operations_are_these_and_each_has_a_description(document):
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == OPERATIONS
    assert all(operation["description"] for operation in operations.values())
    events = operations["post", "/v1/events"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    kinds = [document["components"]["schemas"][one["$ref"].rpartition("/")[2]] for one in events]
    assert document["components"]["schemas"]["EventKind"]["enum"] == list(SENT_KINDS)
    assert kinds[2]["properties"]["events"]["maxItems"] == 1_000
    for path, kind, name in (
        ("/v1/uploads", "multipart/form-data", "UploadVideoForm"),
        ("/v1/videos", "application/json", "AddVideoRequest"),
    ):
        content = operations["post", path]["requestBody"]["content"]
        assert content == {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def test_every_field_of_a_request_has_a_description_and_whole_numbers_their_limits(document):
    schemas = document["components"]["schemas"]
    for name in ("UserRecommendRequest", "SessionRecommendRequest", "SearchRequest", "UserEventRequest",
                 "SessionEventRequest", "AddVideoRequest", "UpdateVideoRequest",
                 "ListFilters", "RecommendContext", "UploadVideoForm", "EventsRequest", "StreamRequest",
                 "BeatRequest"):  # fmt: skip
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), (name, field)
    k = schemas["UserRecommendRequest"]["properties"]["k"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 100, 20)


def test_metrics_have_a_route_only_if_the_service_has_any(tmp_path, made):
    _, shop = made()
    app = create_app(shop, ServeConfig(data=str(tmp_path)), environment={})
    assert call(app, "GET", "/metrics").status == 404


def test_keys_come_from_the_variable_of_the_settings(tmp_path, made):
    _, shop = made()
    _, entry = create_key("a:read")
    config = ServeConfig.model_validate({"data": str(tmp_path), "security": {"keys_variable": "OTHER"}})
    for environment, status in (({"OTHER": entry}, 401), ({"VREC_API_KEYS": entry}, 200)):
        app = create_app(shop, config, environment=environment)
        assert call(app, "GET", "/v1/arms").status == status
