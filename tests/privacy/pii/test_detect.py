"""Detectors: what counts, what does not, and spans that are right."""

import itertools
import re

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.compute import pc
from vrec.privacy.pii.detect import MAYBE, find_pii, mask


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("联系abc@qq.com谢谢", "email", "abc@qq.com"),
        ("a.b+c@x-y.example.org.", "email", "a.b+c@x-y.example.org"),
        ("ａｂ ab＠qq．com", "email", "ab＠qq．com"),
        ("电话13812345678谢谢", "phone", "13812345678"),
        ("138 1234 5678", "phone", "138 1234 5678"),
        ("１３８１２３４５６７８", "phone", "１３８１２３４５６７８"),
        ("8613812345678", "phone", "8613812345678"),
        ("+1 (415) 555-2671 x", "phone", "+1 (415) 555-2671"),
        ("010-62345678", "phone", "010-62345678"),
        ("11010519491231002X", "resident_id", "11010519491231002X"),
        ("我是11010519491231002x。", "resident_id", "11010519491231002x"),
        ("4111 1111 1111 1111", "card", "4111 1111 1111 1111"),
        ("3782-822463-10005", "card", "3782-822463-10005"),
        ("from 203.0.113.9:443", "ip", "203.0.113.9"),
        ("2001:db8::1", "ip", "2001:db8::1"),
    ],
)
def test_personal_data_is_found_where_it_stands(text, kind, found):
    assert [(one.kind, text[one.start : one.end]) for one in find_pii(text)] == [(kind, found)]


@pytest.mark.parametrize(
    "text",
    [
        "icon@2x.png",
        "@handle",
        "a@b",
        "sftp://user:pw@files.example.com/x",
        "订单号13812345678",
        "order no. 4111111111111111",
        "4111111111111112",
        "110105194912310021",
        "11010519491331002X",
        "1700000000",
        "1700000000000",
        "1700000000000000",
        "2024-01-31 18:05:00",
        "13812345678.55",
        "SKU-13812345678-001",
        "v1.2.3.4",
        "127.0.0.1",
        "999.1.1.1",
        "12:30:45",
        "std::vector",
        "00:1a:2b:3c:4d:5e",
        "0000000000000000",
        "",
    ],
)
def test_look_alikes_are_not_personal_data(text):
    assert find_pii(text) == []


PIECES = st.sampled_from(
    (
        *(
            "13812345678",
            "a@b.cn",
            "＠",
            "+86 ",
            "010-6234",
            "5678",
            "4111 1111 1111 1111",
            "11010519491231002X",
        ),
        *("1.2.3.4", "fe80::1", "::", " - (", ")", "电话", "order ", "x", "７", ".0", ",", "\n", "٣"),
    )
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_spans_are_in_order_apart_and_in_texts_that_the_filter_keeps(text):
    found = find_pii(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert not found or pc.match_substring_regex(pa.array([text]), MAYBE)[0].as_py()


@given(st.sampled_from(["CN", "US", "GB", "DE", "JP"]), st.integers(10**6, 10**11))
def test_numbers_with_a_country_code_are_found_as_the_library_judges(region, number):
    parsed = phonenumbers.PhoneNumber(phonenumbers.country_code_for_region(region), number)
    text = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if phonenumbers.is_valid_number(parsed):
        assert [one.kind for one in find_pii(text)] == ["phone"]
    else:
        assert "phone" not in [one.kind for one in find_pii(text)]


@given(st.text(max_size=30))
def test_a_masked_text_shows_two_letters_at_most(text):
    masked = mask(text)
    assert len(masked) == len(text)
    assert sum(one.isalnum() for one in masked) <= 2
    assert re.sub(r"[\w*]", "", masked) == re.sub(r"[\w*]", "", text)
