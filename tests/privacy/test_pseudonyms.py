"""Pseudonyms: test vectors, equality within a tenant and domain alone, and keys that are refused."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import PrivacyError
from vrec.privacy.pseudonyms import LinkSeal, Pseudonymizer, derive_key, is_pseudonym, read_key

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
IDS = st.text(max_size=12) | st.sampled_from(["u1", "session:u1", "domain:u1", "张三", "7", "07"])
NAMES = st.text(max_size=3)
KINDS = st.sampled_from(["user", "session", "event"])


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, written out."""
    extracted, block, out, count = hmac.digest(salt, key, "sha256"), b"", b"", 1
    while len(out) < length:
        block = hmac.digest(extracted, block + info + bytes([count]), "sha256")
        out, count = out + block, count + 1
    return out[:length]


def test_the_reference_is_that_of_rfc_5869():
    found = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert found.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@given(
    st.binary(min_size=32, max_size=80), st.lists(st.text(max_size=5), max_size=4), st.sampled_from([32, 64])
)
def test_keys_are_derived_by_hkdf(key, parts, length):
    texts = [part.encode() for part in parts]
    info = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    assert derive_key(key, *parts, length=length) == hkdf(key, b"vrec pseudonyms 1", info, length)


@given(IDS.filter(lambda text: text and not text.startswith("session:")), NAMES, NAMES, KINDS)
def test_a_pseudonym_is_an_hmac_under_the_derived_key(text, tenant, domain, kind):
    digest = hmac.new(derive_key(KEY, "id", tenant, domain, kind), text.encode(), hashlib.sha256).digest()
    expected = "p1-" + base64.b32encode(digest[:20]).decode().lower()
    assert Pseudonymizer(KEY, tenant, domain, kind)(text) == expected
    assert is_pseudonym(expected)


@given(st.lists(IDS, max_size=40), KINDS)
def test_many_at_once_are_those_of_one_by_one(texts, kind):
    made = Pseudonymizer(KEY, "t", "shop", kind)
    assert made.many(texts) == [made(text) for text in texts]


def test_pseudonyms_stay_what_they_are_from_version_to_version():
    assert Pseudonymizer(KEY, "default", "shop")("u1") == "p1-rcyb4rrtpdalboa3nrnfrybuii6xsoyq"
    assert (
        Pseudonymizer(KEY, "default", "shop")("session:s1") == "session:p1-lk37abw6g5kuyo7iqsmem3eb2x6qach7"
    )
    assert Pseudonymizer(KEY, "default", "shop", "event")("e1") == "p1-yqgjuveej3agi3fldf7ko3bgtuwf6tvd"


@given(IDS, IDS, NAMES, NAMES, NAMES, NAMES, KINDS, KINDS)
def test_equal_ids_alone_have_equal_pseudonyms_and_never_across(
    a, b, tenant, other, domain, another, kind, k2
):
    first = Pseudonymizer(KEY, tenant, domain, kind)
    assert (first(a) == first(b)) == (a == b)
    second = Pseudonymizer(KEY, other, another, k2)
    if (tenant, domain, kind) != (other, another, k2) and a:
        assert first(a) != second(a)
    assert not a or Pseudonymizer(OTHER, tenant, domain, kind)(a) != first(a)


def test_a_session_is_one_in_both_of_its_columns():
    users, sessions = Pseudonymizer(KEY, "t", "shop"), Pseudonymizer(KEY, "t", "shop", "session")
    assert users("session:s1") == "session:" + sessions("s1")
    assert users("s1") != sessions("s1")


@given(st.text(min_size=1, max_size=20), NAMES, NAMES)
def test_a_sealed_account_opens_with_the_same_key_tenant_and_domain_alone(text, tenant, domain):
    sealed = LinkSeal(KEY, tenant).seal(text, domain)
    assert sealed == LinkSeal(KEY, tenant).seal(text, domain)
    assert LinkSeal(KEY, tenant).open(sealed, domain) == text
    wrong = [(OTHER, tenant, domain), (KEY, tenant + "x", domain), (KEY, tenant, domain + "x")]
    for key, other, another in wrong:
        with pytest.raises(PrivacyError, match="another link key"):
            LinkSeal(key, other).open(sealed, another)
    for damaged in ("", "s1-", "s1-!!!", sealed[:-3], "p1-" + "a" * 32):
        with pytest.raises(PrivacyError, match="damaged"):
            LinkSeal(KEY, tenant).open(damaged, domain)


def test_a_key_comes_from_a_variable_or_the_file_it_names(tmp_path):
    path = tmp_path / "key"
    path.write_text("k" * 32 + "\n")
    assert read_key("K", {"K": "v" * 40}) == b"v" * 40
    assert read_key("K", {"K_FILE": str(path)}) == b"k" * 32


def test_a_missing_short_or_unreadable_key_is_refused(tmp_path):
    with pytest.raises(PrivacyError, match="K is not set, and neither is K_FILE"):
        read_key("K", {})
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(PrivacyError, match=r"K_FILE names .*empty, which is empty"):
        read_key("K", {"K_FILE": str(tmp_path / "empty")})
    with pytest.raises(PrivacyError, match="K has 31 bytes, fewer than 32"):
        read_key("K", {"K": "x" * 31})
    with pytest.raises(PrivacyError, match="no such file"):
        read_key("K", {"K_FILE": str(tmp_path / "absent")})
    for make in (lambda: Pseudonymizer(b"x" * 31, "t", "d"), lambda: LinkSeal(b"x" * 31, "t")):
        with pytest.raises(PrivacyError, match="31 bytes"):
            make()
