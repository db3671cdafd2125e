"""Lossless casts of columns that other programs write as another type: text, lists of text, ids."""

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.schema import STRING

PLACEHOLDERS = frozenset(
    ("null", "nan", "none", "<na>", "nat", "(null)", "undefined", "n/a", "#n/a", "\\n", "nil")
)
"""Texts, in lower case, that programs write where there is no value; "NA" is one in capitals only."""
MAX_WHOLE_FLOAT = 2.0**53
"""Above it a float64 no longer holds every whole number."""
FLOAT_ID = r"^-?\d{1,15}\.0+$"
"""Pattern of a whole number that was written as a float, such as 7.0."""
ID_FIX = "cast ids to text; in pandas: df['id'] = df['id'].astype('Int64').astype('string')"
"""Cast to apply where ids cannot be read."""


def printable(text: str) -> str:
    """Return text as valid UTF-8; lone surrogates, which no table can hold, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_placeholder(text: str) -> bool:
    """Return whether a text stands for a missing value, such as "NaN" or "NULL"."""
    return text == "NA" or text.lower() in PLACEHOLDERS


def text_column(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column as text, or as lists of text, where that loses nothing; None where it does.

    Whole numbers become their digits, also where they are stored as floats: 7, 7.0 and "7" are one id.
    """
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _text_lists(column)
    if pa.types.is_dictionary(kind):
        return text_column(pc.cast(column, kind.value_type))
    if pa.types.is_string(kind):
        return column
    if pa.types.is_floating(kind):
        numbers = pc.cast(column, pa.float64())
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), MAX_WHOLE_FLOAT))
        missing = pc.is_nan(numbers)
        if not pc.all(pc.or_(whole, missing), min_count=0).as_py():
            return None
        return pc.cast(pc.cast(pc.if_else(missing, None, numbers), pa.int64()), STRING)
    is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pc.cast(column, STRING) if is_text or pa.types.is_integer(kind) or pa.types.is_null(kind) else None


def _text_lists(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    chunks: list[pa.Array] = []
    for chunk in column.chunks:
        values = chunk.cast(pa.list_(chunk.type.value_type))
        texts = text_column(pa.chunked_array([values.values]))
        if texts is None:
            return None
        mask = values.is_null() if values.null_count else None
        chunks.append(pa.ListArray.from_arrays(values.offsets, texts.combine_chunks(), mask=mask))
    return pa.chunked_array(chunks, pa.list_(STRING))
