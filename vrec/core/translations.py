"""Translations from gettext catalogs, which are compiled when they are loaded."""

import io
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations


def load_translations(file: Path, language: str) -> NullTranslations:
    """Return the translations of a `.po` file; those that leave every text as it is where there is none.

    Args:
        file: The catalog.
        language: Its language tag.
    """
    if not file.exists():
        return NullTranslations()
    with file.open("rb") as source:
        catalog = read_po(source, locale=language, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
