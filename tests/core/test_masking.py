import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import ReadFailed, SourceError, describe_exception, os_error_reason
from vrec.core.masking import mask_credentials, mask_values

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:s3cr3t@b/a: gone", "s3://KEY:***@b/a: gone"),
        ("s3://KEY:s3cr/3t+=@b/a", "s3://KEY:***@b/a"),
        ("https://s3cr3t@h/a", "https://***@h/a"),
        ("https://user:s3cr3t@h:80/a@b?v=1", "https://user:***@h:80/a@b?v=***"),
        ("redis://:s3cr3t@h:6379/0", "redis://:***@h:6379/0"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("https://h/a b?X-Amz-Date=1&Signature=s3cr3t%2F", "https://h/a b?X-Amz-Date=1&Signature=***"),
        ("https://h/a?sig=s3cr3t: HTTP 403", "https://h/a?sig=***: HTTP 403"),
        ("(https://h/a?sig=s3cr3t), and more", "(https://h/a?sig=***), and more"),
        ("https://h/a?sig=(s3cr3t)&b=s3cr3t", "https://h/a?sig=***)&b=***"),
        ("https://h/a?s3cr3t", "https://h/a?***"),
        ('{"uri": "https://h/a?sig=s3cr3t"}', '{"uri": "https://h/a?sig=***"}'),
        ("s3://b/a?endpoint_override=http://h:9&region=x", "s3://b/a?endpoint_override=http://h:9&region=x"),
        ("abfs://box@account.dfs.core.windows.net/a", "abfs://box@account.dfs.core.windows.net/a"),
        ("is it https://h/a? Perhaps", "is it https://h/a? Perhaps"),
        ("why not a?b=c", "why not a?b=c"),
    ],
)  # fmt: skip
def test_secrets_are_masked_and_the_rest_stays(text, shown):
    assert mask_credentials(text) == shown
    assert mask_credentials(shown) == shown
    assert SECRET not in mask_credentials(text)


safe = st.text(string.ascii_letters + string.digits + "-._~%+=:,;!*()/@", min_size=1, max_size=20)


@given(st.sampled_from(["http", "https", "s3"]), safe, st.sampled_from(["", "?region=x", "?sig=x&b=1"]))
def test_no_password_before_a_host_is_shown(scheme, rest, query):
    password = rest.replace("@", "").replace("/", "%2F") + SECRET
    assert SECRET not in mask_credentials(
        f"reading {scheme}://user:{password}@host/path{query}: no such file"
    )


@given(st.sampled_from(["sig", "X-Amz-Signature", "token", "Key-Pair-Id", "e"]), safe, safe)
def test_no_value_of_a_query_is_shown(name, before, after):
    uri = f"https://host/a.mp4?v=1&{name}={before}{SECRET}{after}&w=2"
    assert SECRET not in mask_credentials(f"{uri}: HTTP 403 Forbidden")
    assert SECRET not in mask_credentials(f"'{uri}' (see {uri}), {uri}")


def test_errors_and_results_are_masked_wherever_they_are_made():
    uri = f"https://h/a?sig={SECRET}"
    error = SourceError(f"{uri}: HTTP 403", fix=f"renew {uri}")
    assert SECRET not in str(error) + error.fix + str(ReadFailed(uri)) + describe_exception(ValueError(uri))
    assert SECRET not in os_error_reason(OSError(uri))
    given_values = {uri: [uri, 1, None], "b": {"c": (uri,)}}
    assert SECRET not in str(mask_values(given_values))
    assert mask_values({"a": 1, "b": [1.5, True, None]}) == {"a": 1, "b": [1.5, True, None]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("When reading 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject", "access is refused ("),
        ("AWS Error UNKNOWN (HTTP status 403): code: 403", "access is refused ("),
        ("AWS Error NO_SUCH_BUCKET during ListObjectsV2", "there is no such bucket ("),
        ("AWS Error NETWORK_CONNECTION during HeadBucket: curlCode: 7, Couldn't connect", "cannot connect ("),
        ("AWS Error SLOW_DOWN during GetObject", "the server is busy or fails ("),
        ("anything else", "anything else"),
    ],
)  # fmt: skip
def test_errors_of_object_stores_begin_with_what_they_mean(text, reason):
    assert os_error_reason(OSError(text)).startswith(reason)
