"""Texts of the assistant in the shopper's language."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from babel import Locale
from babel.numbers import format_currency, format_decimal, get_currency_name
from babel.support import NullTranslations

from vrec.core.translations import load_translations

CATALOGS = Path(__file__).parent / "locale"
"""Folder of the catalogs, `LANGUAGE/assistant.po`; the texts of the source are English."""
Language = Literal["en", "zh"]


@dataclass(frozen=True, eq=False)
class Wording:
    """Language of answers, with the shop's currency."""

    code: Language
    translations: NullTranslations
    locale: Locale
    currency: str | None = None

    def say(self, message: str) -> str:
        """Return the translation of a text of the source."""
        return self.translations.ugettext(message)

    def counted(self, one: str, many: str, count: int) -> str:
        """Return the translation of a text that depends on a number, as `count` needs it."""
        return self.translations.ungettext(one, many, count)

    def money(self, value: float) -> str:
        """Return an amount of money, whole amounts without decimals."""
        pattern = "#,##0" if value == round(value) else "#,##0.00"
        if self.currency is None:
            return format_decimal(value, pattern, locale=self.locale)
        return format_currency(value, self.currency, f"¤{pattern}", self.locale, currency_digits=False)

    def currency_name(self) -> str:
        """Return the name of the shop's currency, such as "US dollars"; "" where it is not known."""
        if self.currency is None:
            return ""
        return get_currency_name(self.currency, count=2, locale=self.locale)

    def joined(self, parts: list[str]) -> str:
        """Return sentences as one text."""
        return ("" if self.code == "zh" else " ").join(part for part in parts if part)


@cache
def wording(code: Language, currency: str | None = None) -> Wording:
    """Load the texts of a language.

    Args:
        code: The language.
        currency: ISO 4217 code of the shop's prices; amounts stand alone without one.
    """
    locale = Locale.parse({"en": "en_US", "zh": "zh_Hans_CN"}[code])
    return Wording(code, load_translations(CATALOGS / code / "assistant.po", code), locale, currency)
