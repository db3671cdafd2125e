"""Languages of the console: translations from gettext catalogs, and numbers and times as they are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import ClassVar

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent
from babel.support import NullTranslations

from vrec.core.translations import load_translations

CATALOGS = Path(__file__).parent / "locale"
"""Folder of the catalogs, `LANGUAGE/console.po`; the texts of the source are English."""
MAX_HEADER_CHARS = 1_000
"""Characters of Accept-Language that are looked at."""


def mark(text: str) -> str:
    """Return the text, which is thereby in the catalogs: for texts that are translated later."""
    return text


@dataclass(frozen=True, eq=False)
class ConsoleLanguage:
    """Language with its translations and its ways of writing numbers and times; times are in UTC."""

    NAMES: ClassVar = {"en": "English", "zh": "中文"}

    code: str
    """Language tag, one of NAMES."""
    translations: NullTranslations
    locale: Locale

    @property
    def tag(self) -> str:
        """Value of the attribute `lang` of a page."""
        return {"zh": "zh-Hans"}.get(self.code, self.code)

    def text(self, message: str) -> str:
        """Return the translation of a text that is marked in the source."""
        return self.translations.ugettext(message) if message else ""

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with at most so many decimals."""
        return format_decimal(value, "#,##0" + ("." + "#" * digits if digits else ""), locale=self.locale)

    def percent(self, value: float, digits: int = 1) -> str:
        """Return a share as percent."""
        return format_percent(
            value, "#,##0" + ("." + "0" * digits if digits else "") + "%", locale=self.locale
        )

    def money(self, value: float, currency: str) -> str:
        """Return an amount of money."""
        return format_currency(value, currency, locale=self.locale)

    def scale_money(self, value: float, currency: str) -> str:
        """Return an amount on the scale of a chart, without decimals unless it is small."""
        decimals = ".00" if 0 < value < 10 else ""
        return format_currency(value, currency, f"¤#,##0{decimals}", self.locale, currency_digits=False)

    def day(self, at: int) -> str:
        """Return the day of a time in µs since 1970."""
        return format_date(_utc(at), "MMM d" if self.code == "en" else "M月d日", locale=self.locale)

    def moment(self, at: int | datetime | None) -> str:
        """Return a time, an aware one or µs since 1970, to the minute; "" for None."""
        if at is None:
            return ""
        moment = _utc(at) if isinstance(at, int) else at
        return format_datetime(moment.astimezone(UTC), "yyyy-MM-dd HH:mm 'UTC'", locale=self.locale)


@cache
def console_language(code: str) -> ConsoleLanguage:
    """Load a language, one of ConsoleLanguage.NAMES."""
    locale = Locale.parse({"en": "en_US", "zh": "zh_Hans_CN"}[code])
    return ConsoleLanguage(code, load_translations(CATALOGS / code / "console.po", code), locale)


def choose_language(chosen: str | None, accepted: Sequence[str]) -> ConsoleLanguage:
    """Return the language of a page.

    Args:
        chosen: Code that the reader chose, if any.
        accepted: Values of Accept-Language (RFC 9110, section 12.5.4).
    """
    if chosen in ConsoleLanguage.NAMES:
        return console_language(chosen)
    ranges = []
    for part in ",".join(accepted)[:MAX_HEADER_CHARS].split(","):
        tag, *parameters = (one.strip().lower() for one in part.split(";"))
        ranges.append((_weight(parameters), tag.partition("-")[0]))
    for weight, language in sorted(ranges, key=lambda one: -one[0]):
        if weight > 0 and language in ConsoleLanguage.NAMES:
            return console_language(language)
    return console_language("en")


def _weight(parameters: Sequence[str]) -> float:
    for one in parameters:
        if one.startswith("q="):
            try:
                return float(one.removeprefix("q="))
            except ValueError:
                return 0.0
    return 1.0


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1e6, UTC)
