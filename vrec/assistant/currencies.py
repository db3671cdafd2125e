"""Names of currencies in messages, English and Chinese."""

import re

_DOLLARS = ("USD", "AUD", "CAD", "HKD", "NZD", "SGD", "TWD")
_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"us ?\$|us dollars?|usd|美元|美金|美刀", ("USD",)),
    (r"a\$|au ?\$|aud|australian dollars?|澳元|澳币", ("AUD",)),
    (r"c\$|ca ?\$|canadian dollars?|加元|加币", ("CAD",)),
    (r"hk ?\$|hkd|hong kong dollars?|港币|港元", ("HKD",)),
    (r"nt ?\$|twd|新台币|台币", ("TWD",)),
    (r"s\$|sgd|singapore dollars?|新加坡元", ("SGD",)),
    (r"\$|dollars?|bucks?", _DOLLARS),
    (r"€|euros?|eur|欧元", ("EUR",)),
    (r"£|pounds?|quid|gbp|英镑", ("GBP", "EGP")),
    (r"yen|jpy|日元|日圆|日币|円", ("JPY",)),
    (r"krw|₩|韩元|韩币", ("KRW",)),
    (r"rupees?|inr|₹|卢比", ("INR", "PKR", "LKR", "NPR")),
    (r"francs?|chf|瑞郎|法郎", ("CHF", "XOF", "XAF")),
    (r"rubles?|roubles?|₽|卢布", ("RUB", "BYN")),
    (r"¥", ("CNY", "JPY")),
    (r"rmb|cny|renminbi|yuan|人民币", ("CNY",)),
)
"""Names of currencies, and the codes that each may stand for, the most usual first. 元, 块 and kuai are left
out: in Chinese they name the unit of any currency."""


def _whole(pattern: str) -> str:
    return rf"(?<![a-z])(?:{pattern})(?![a-z'’])"


CURRENCY = _whole("|".join(pattern for pattern, _ in _NAMES))
"""Pattern of all names that stand for a currency."""
_SCANNERS = [(re.compile(_whole(pattern)), codes) for pattern, codes in _NAMES]


def currencies_in(phrase: str) -> tuple[str, ...]:
    """Return the ISO 4217 codes that a phrase may name; none for an amount without a currency.

    Args:
        phrase: Phrase about a price, in its normal form.
    """
    return next((codes for pattern, codes in _SCANNERS if pattern.search(phrase)), ())
