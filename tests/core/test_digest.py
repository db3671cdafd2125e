import hashlib

from vrec.core.digest import digest


def test_a_digest_is_the_start_of_the_sha256_of_canonical_json():
    want = hashlib.sha256('{"a":[1,"é"],"b":null}'.encode()).hexdigest()[:12]
    assert digest({"b": None, "a": [1, "é"]}) == digest({"a": [1, "é"], "b": None}) == want


def test_another_value_or_nesting_is_another_digest():
    values = [{}, {"a": 1}, {"a": "1"}, {"a": [1]}, {"a": {"b": 1}}, {"b": 1}, {"a": True}]
    assert len({digest(value) for value in values}) == len(values)
