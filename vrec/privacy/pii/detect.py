"""Detectors of personal data in one text: e-mails, phone, resident id and card numbers, IP addresses."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import phonenumbers
from stdnum import luhn, numdb
from stdnum.cn import ric
from stdnum.exceptions import ValidationError

PiiKind = Literal["email", "phone", "resident_id", "card", "ip"]

MAYBE = (
    r"[@＠]|(?:[0-9０-９][^0-9A-Za-z０-９]{0,4}){7}|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]|[0-9A-Fa-f]*:[0-9A-Fa-f]*:"
)
"""Pattern of RE2 that every text with personal data has; the detectors see no others."""

_WIDE = str.maketrans("０１２３４５６７８９＠．＋－　", "0123456789@.+- ")
_BARE = re.compile(r"\s*((\+?[0-9]{7,19})(?:\.0+)?)\s*")
_NUMBER_OR_TIME = re.compile(
    r"\s*(?:-?[0-9,]+\.[0-9]+|[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}(?:[T ][0-9:.,]*(?:Z|[+-][0-9:]+)?)?)\s*"
)
_EMAIL = re.compile(
    r"(?<![\w.%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,30})(?![A-Za-z0-9-])",
    re.ASCII,
)
_FILES = frozenset(
    (
        "png",
        "jpg",
        "jpeg",
        "gif",
        "webp",
        "svg",
        "mp4",
        "mov",
        "webm",
        "m3u8",
        "ts",
        "css",
        "js",
        "json",
        "html",
    )
)
"""Ends of names such as icon@2x.png."""
_RESIDENT = re.compile(r"(?<![0-9A-Za-z])[1-9][0-9]{16}[0-9Xx](?![0-9A-Za-z])")
_CARD = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:[0-9]{13,19}|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|"
    r"3[47][0-9]{2}([ -])[0-9]{6}\2[0-9]{5})(?![0-9A-Za-z_-]|\.[0-9])"
)
_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)"
    r"[0-9]{12}|3[47][0-9]{13}|62[0-9]{14,17}|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}|35(?:2[89]|[3-8][0-9])"
    r"[0-9]{12}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
)
"""Lengths and first digits of card issuers."""
_IPV4 = re.compile(r"(?<![0-9A-Za-z_.@-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_-]|\.[0-9])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_:.])")
_NUMBER_OF = re.compile(
    r"(?:order|invoice|sku|item|product|ref|serial|tracking|batch|ticket|version|ver|build|isbn|ean|upc|"
    r"订单|单号|编号|货号|款号|型号|快递|运单|批次|条码|版本|商品|\bno|#|\bv)[^0-9A-Za-z]{0,3}(?:no|number|id|code|号码|号)?"
    r"[^0-9A-Za-z\u4e00-\u9fff]{0,3}$",
    re.IGNORECASE,
)
"""Words before a number that say that it is one of a thing."""


@dataclass(frozen=True, slots=True)
class FoundPii:
    """Personal data in a text."""

    kind: PiiKind
    start: int
    end: int
    bare: bool = False
    """Whether the text is nothing but digits, and so may be a number of another sort."""


def find_pii(text: str, regions: tuple[str, ...] = ("CN",)) -> list[FoundPii]:
    """Return the personal data in a text, in order and without overlaps.

    Args:
        text: The text.
        regions: Regions whose phone numbers need no country code.
    """
    text = text.translate(_WIDE)
    if bare := _BARE.fullmatch(text):
        return _find_bare(bare[2], bare.start(1), bare.end(1), regions)
    if _NUMBER_OR_TIME.fullmatch(text):
        return []
    found: list[FoundPii] = []
    for finder in (_emails, _resident_ids, _cards, _addresses):
        found += [one for one in finder(text) if not _overlaps(one, found)]
    found += [one for one in _phones(text, regions) if not _overlaps(one, found)]
    return sorted(found, key=lambda one: one.start)


def redact_text(text: str, regions: tuple[str, ...] = ("CN",), bare: frozenset[PiiKind] | None = None) -> str:
    """Return a text with the personal data in it replaced by its kind, as in `[phone]`.

    Args:
        text: The text.
        regions: Regions whose phone numbers need no country code.
        bare: Kinds that bare digits are taken for; None takes them for any.
    """
    for one in reversed(find_pii(text, regions)):
        if not one.bare or bare is None or one.kind in bare:
            text = f"{text[: one.start]}[{one.kind}]{text[one.end :]}"
    return text


def could_be(kind: PiiKind, text: str, regions: tuple[str, ...]) -> bool:
    """Return whether a text is bare digits of a length that a kind has."""
    bare = _BARE.fullmatch(text.translate(_WIDE))
    if bare is None:
        return False
    digits = bare[2].lstrip("+")
    return 13 <= len(digits) <= 19 if kind == "card" else len(digits) in _mobile_lengths(regions)


def mask(text: str) -> str:
    """Return a text with its first and last letter or digit alone; others become asterisks."""
    places = [n for n, letter in enumerate(text) if letter.isalnum()]
    keep = set(places[:1] + places[-1:]) if len(places) > 4 else set()
    return "".join(c if n in keep or not c.isalnum() else "*" for n, c in enumerate(text))


def _find_bare(digits: str, start: int, end: int, regions: tuple[str, ...]) -> list[FoundPii]:
    if _is_resident_id(digits):
        return [FoundPii("resident_id", start, end)]
    if digits.startswith("+"):
        return [FoundPii("phone", start, end)] if _is_international(digits) else []
    if any(pattern.fullmatch(digits) for pattern in map(_mobile, regions)):
        return [FoundPii("phone", start, end, bare=True)]
    return [FoundPii("card", start, end, bare=True)] if _is_card(digits) else []


def _overlaps(one: FoundPii, others: list[FoundPii]) -> bool:
    return any(one.start < other.end and other.start < one.end for other in others)


def _emails(text: str) -> Iterator[FoundPii]:
    for match in _EMAIL.finditer(text):
        before = text[: match.start()].rsplit(maxsplit=1)
        # The user part of a URI is an account of a server.
        in_uri = bool(before) and "://" in before[-1] and not text[match.start() - 1].isspace()
        if match[0].rpartition(".")[2].lower() not in _FILES and not in_uri:
            yield FoundPii("email", match.start(), match.end())


def _resident_ids(text: str) -> Iterator[FoundPii]:
    for match in _RESIDENT.finditer(text):
        if _is_resident_id(match[0]):
            yield FoundPii("resident_id", match.start(), match.end())


def _is_resident_id(digits: str) -> bool:
    """Return whether the county, the day of birth and the check digit are valid.

    `stdnum.cn.ric.is_valid` also asks whether the county was there at birth, but an id has the county of
    its first registration, which may be later.
    """
    if not _RESIDENT.fullmatch(digits) or digits[-1].upper() != ric.calc_check_digit(digits):
        return False
    try:
        born = ric.get_birth_date(digits)
    except ValidationError:
        return False
    place = numdb.get("cn/loc").info(digits[:6])
    return 1900 <= born.year <= 2100 and any("county" in properties for _, properties in place)


def _cards(text: str) -> Iterator[FoundPii]:
    for match in _CARD.finditer(text):
        if _is_card(re.sub("[ -]", "", match[0])) and not _is_of_a_thing(text, match.start()):
            yield FoundPii("card", match.start(), match.end())


def _is_card(digits: str) -> bool:
    return _ISSUER.fullmatch(digits) is not None and len(set(digits)) > 1 and luhn.is_valid(digits)


def _is_of_a_thing(text: str, start: int) -> bool:
    return _NUMBER_OF.search(text, max(0, start - 24), start) is not None


def _addresses(text: str) -> Iterator[FoundPii]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            # 1.2.0.1 may be a version; those of one machine name nobody.
            nobody = address.is_loopback or address.is_unspecified or address.is_multicast
            if not nobody and not _is_of_a_thing(text, match.start()):
                yield FoundPii("ip", match.start(), match.end())


def _phones(text: str, regions: tuple[str, ...]) -> Iterator[FoundPii]:
    seen: set[int] = set()
    for region in regions:
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
            plain = match.raw_string.isdigit()
            mobile = not plain or any(one.fullmatch(match.raw_string) for one in map(_mobile, regions))
            if mobile and match.start not in seen and not _is_of_a_thing(text, match.start):
                seen.add(match.start)
                yield FoundPii("phone", match.start, match.end)


def _is_international(digits: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits))
    except phonenumbers.NumberParseException:
        return False


@cache
def _mobile(region: str) -> re.Pattern[str]:
    """Return the pattern of a region's mobile numbers as they are dialed there, with its country code or not.

    Plain digits of a landline are too much like other numbers.
    """
    code, mobile = _numbering(region)
    return re.compile(f"(?:0{{0,2}}{code})?(?:{mobile.national_number_pattern})")


def _numbering(region: str) -> tuple[int, Any]:
    """Return a region's country code, and the description of its mobile numbers."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    assert metadata is not None
    return metadata.country_code or 0, metadata.mobile


@cache
def _mobile_lengths(regions: tuple[str, ...]) -> frozenset[int]:
    lengths: set[int] = set()
    for region in regions:
        code, mobile = _numbering(region)
        prefixes = (0, len(str(code)), len(str(code)) + 2)
        lengths |= {length + more for length in mobile.possible_length for more in prefixes}
    return frozenset(lengths)
