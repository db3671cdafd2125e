"""Arrow schemas of vrec's tables, and `conform`, which checks the input and output of every stage."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import SchemaError

STRING = pa.string()
TIMESTAMP = pa.timestamp("us", tz="UTC")
FIRST_MICROS, LAST_MICROS = -62_135_596_800_000_000, 253_402_300_799_999_999
"""First and last TIMESTAMP that Python's datetime holds, in µs since 1970."""


@dataclass(frozen=True, slots=True)
class VectorType:
    """Column type of vectors, all of one length that the table's writer chooses."""

    value_type: pa.DataType = field(default_factory=pa.float32)


@dataclass(frozen=True, slots=True)
class TableColumn:
    """Column of a table: name, Arrow type (or VectorType), and whether it may hold nulls or be absent."""

    name: str
    type: pa.DataType | VectorType
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """Contract of a table: its name and its columns in order."""

    name: str
    columns: tuple[TableColumn, ...]

    def arrow(self, dim: int | None = None) -> pa.Schema:
        """Return the Arrow schema; `dim` is the length of vectors, required where there is a vector column.

        Raises:
            ValueError: There is a vector column and no `dim`.
        """
        fields: list[pa.Field] = []
        for column in self.columns:
            kind = column.type
            if isinstance(kind, VectorType):
                if dim is None:
                    raise ValueError(f"{self.name}.{column.name} needs a dim")
                kind = pa.list_(kind.value_type, dim)
            fields.append(pa.field(column.name, kind, nullable=column.nullable))
        return pa.schema(fields)


VIDEOS = TableSchema(
    "VIDEOS",
    (
        TableColumn("video_id", STRING),
        TableColumn("uri", STRING),
        TableColumn("kind", STRING),
        TableColumn("product_ids", pa.list_(STRING)),
        TableColumn("creator_id", STRING),
        TableColumn("domain", STRING),
        TableColumn("category", STRING, nullable=True),
        TableColumn("tags", pa.list_(STRING)),
        TableColumn("title", STRING, nullable=True),
        TableColumn("language", STRING, nullable=True),
        TableColumn("price", pa.float64(), nullable=True),
        TableColumn("duration_s", pa.float32(), nullable=True),
        TableColumn("published_at", TIMESTAMP, nullable=True),
        TableColumn("expires_at", TIMESTAMP, nullable=True),
        TableColumn("available", pa.bool_()),
    ),
)

EMBEDDINGS = TableSchema(
    "EMBEDDINGS",
    (
        TableColumn("entity_id", STRING),
        TableColumn("modality", STRING),
        TableColumn("encoder", STRING),
        TableColumn("content_hash", STRING),
        TableColumn("vector", VectorType()),
    ),
)

FAILURES = TableSchema(
    "FAILURES",
    (
        TableColumn("video_id", STRING),
        TableColumn("uri", STRING),
        TableColumn("stage", STRING),
        TableColumn("error", STRING),
        TableColumn("message", STRING),
        TableColumn("at", TIMESTAMP),
    ),
)

MEDIA = TableSchema(
    "MEDIA",
    (
        TableColumn("video_id", STRING),
        TableColumn("uri", STRING),
        TableColumn("content_hash", STRING, nullable=True),
        TableColumn("text_hash", STRING),
        TableColumn("recipe", STRING),
        TableColumn("error", STRING, nullable=True),
        TableColumn("decoder", STRING, nullable=True),
        TableColumn("width", pa.int32(), nullable=True),
        TableColumn("height", pa.int32(), nullable=True),
        TableColumn("fps", pa.float32(), nullable=True),
        TableColumn("duration_s", pa.float32(), nullable=True),
        TableColumn("frames", pa.int32()),
        TableColumn("has_audio", pa.bool_()),
        TableColumn("fingerprint", pa.binary(), nullable=True),
        TableColumn("note", STRING, nullable=True),
        TableColumn("decode_s", pa.float32()),
        TableColumn("encode_s", pa.float32()),
    ),
)
"""One row per video, failed (`error` is FAILURES.error) or not: its content hash, format and decoder."""

INTEREST_KINDS = ("impression", "click", "watch", "like", "share", "follow", "gift", "cart", "purchase")
"""Kinds of events that can show interest, from the weakest sign to the strongest."""

HIDING_KINDS = ("hide", "dislike")
"""Kinds of events that keep their video out of the shopper's recommendations, until `unhide`."""

NEGATIVE_KINDS = (*HIDING_KINDS, "skip")
"""Kinds of events that show that a video did not please."""

REVERSED_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"unlike": ("like",), "unfollow": ("follow",), "unhide": HIDING_KINDS, "refund": ("purchase",)}
)
"""Kinds of earlier events of the same shopper and video that an event of a kind reverses: `unlike`,
`unfollow` and `unhide` all of them, `refund` the last purchase that is not refunded yet."""

EVENT_KINDS = (*INTEREST_KINDS, "hide", "unhide", "dislike", "skip", "unlike", "unfollow", "refund", "search")
"""Values of EVENTS.kind, besides a shop's own kinds, which configuration declares."""

OWN_KIND_PATTERN = r"^[a-z][a-z0-9_]{0,31}$"
"""Form of the name of a shop's own kind of event."""

CREATOR_PREFIX = "creator:"
"""Beginning of the video_id of an event about a creator and no video, such as a follow; the creator's id
follows."""

SEARCH_PREFIX = "search:"
"""Beginning of the video_id of the event of a search; what was asked for follows."""

SESSION_PREFIX = "session:"
"""Beginning of the user_id of a shopper without account; the id of the session follows."""

DOMAIN_PREFIX = "domain:"
"""Beginning of the user_id of an account in another domain; the domain, a colon and the account's id
follow."""

EVENTS = TableSchema(
    "EVENTS",
    (
        TableColumn("event_id", STRING),
        TableColumn("user_id", STRING),
        TableColumn("video_id", STRING),
        TableColumn("kind", STRING),
        TableColumn("value", pa.float32(), nullable=True),
        TableColumn("position", pa.int16(), nullable=True),
        TableColumn("request_id", STRING, nullable=True),
        TableColumn("propensity", pa.float32(), nullable=True),
        TableColumn("domain", STRING),
        TableColumn("at", TIMESTAMP),
    ),
)
"""One row per event: `value` is seconds for a watch and money for a purchase; `position` counts from 0;
`propensity` is the probability that the logging policy showed this video at this position."""

INTERACTIONS = TableSchema(
    "INTERACTIONS",
    (
        TableColumn("user_id", STRING),
        TableColumn("video_id", STRING),
        TableColumn("weight", pa.float32()),
        TableColumn("at", TIMESTAMP),
    ),
)
"""One row per user and video: the strength of interest (> 0) and the time it was last shown."""

LINKS = TableSchema(
    "LINKS",
    (
        TableColumn("user_id", STRING),
        TableColumn("other_user_id", STRING),
        TableColumn("other_domain", STRING),
        TableColumn("consented_at", TIMESTAMP),
        TableColumn("revoked_at", TIMESTAMP, nullable=True),
    ),
)
"""One row per account of a shopper in another domain, with the times of consent and of its revocation."""

STREAMS = TableSchema(
    "STREAMS",
    (
        TableColumn("stream_id", STRING),
        TableColumn("streamer_id", STRING),
        TableColumn("title", STRING, nullable=True),
        TableColumn("tags", pa.list_(STRING)),
        TableColumn("category", STRING, nullable=True),
        TableColumn("language", STRING, nullable=True),
        TableColumn("product_ids", pa.list_(STRING)),
        TableColumn("uri", STRING, nullable=True),
        TableColumn("viewers", pa.int64(), nullable=True),
        TableColumn("started_at", TIMESTAMP),
        TableColumn("beat_at", TIMESTAMP, nullable=True),
        TableColumn("ended_at", TIMESTAMP, nullable=True),
    ),
)
"""One row per live stream: `product_ids` are pinned now, `uri` is its HLS playlist, `viewers` those of the
last beat at `beat_at`. A stream is live from `started_at` until before `ended_at`; null means that it still
is."""

STREAM_VECTORS = TableSchema(
    "STREAM_VECTORS",
    (
        TableColumn("stream_id", STRING),
        TableColumn("encoder", STRING),
        TableColumn("at", TIMESTAMP),
        TableColumn("vector", VectorType()),
    ),
)
"""Content of live streams as it changes: one unit vector per stream and embedding, which describes the window
that ended at `at` and holds until the stream's next one."""

FOLLOWS = TableSchema(
    "FOLLOWS",
    (
        TableColumn("user_id", STRING),
        TableColumn("entity", STRING),
        TableColumn("entity_id", STRING),
        TableColumn("at", TIMESTAMP),
        TableColumn("ended_at", TIMESTAMP, nullable=True),
    ),
)
"""One row per follow of a shopper; `entity` is creator, streamer, or user for a friend of the shopper's."""

CREATORS = TableSchema(
    "CREATORS",
    (
        TableColumn("creator_id", STRING),
        TableColumn("videos", pa.int64()),
        TableColumn("streams", pa.int64()),
        TableColumn("videos_per_week", pa.float64()),
        TableColumn("last_published_at", TIMESTAMP, nullable=True),
        TableColumn("category", STRING, nullable=True),
        TableColumn("price", pa.float64(), nullable=True),
        TableColumn("impressions", pa.int64()),
        TableColumn("click_ratio", pa.float64()),
        TableColumn("completion_rate", pa.float64()),
        TableColumn("skip_rate", pa.float64()),
        TableColumn("refund_rate", pa.float64()),
        TableColumn("report_rate", pa.float64()),
        TableColumn("viewers", pa.int64()),
        TableColumn("repeat_viewers", pa.float64()),
        TableColumn("followers", pa.int64()),
        TableColumn("gifts", pa.int64()),
    ),
)
"""One row per creator or streamer: rates are smoothed towards those of all, `click_ratio` is corrected for
the positions at which the videos were shown, and `streams` are those of `videos` that are live streams."""

COUNTS = pa.map_(STRING, pa.float64())
SEEN_EVENT = pa.struct([("at", TIMESTAMP), ("event_id", STRING)])
INTEREST = pa.struct(
    [
        ("at", TIMESTAMP),
        ("event_id", STRING),
        ("video_id", STRING),
        ("weight", pa.float32()),
        ("kind", STRING),
    ]
)

PROFILES = TableSchema(
    "PROFILES",
    (
        TableColumn("entity", STRING),
        TableColumn("entity_id", STRING),
        TableColumn("vector", VectorType(), nullable=True),
        TableColumn("counts", COUNTS),
        TableColumn("last_event_id", STRING, nullable=True),
        TableColumn("updated_at", TIMESTAMP),
        TableColumn("seen", pa.list_(SEEN_EVENT), nullable=True),
        TableColumn("history", pa.list_(INTEREST), nullable=True),
    ),
)
"""One row per profile; `entity` is user, video, streamer or creator. `seen` holds the newest events, and
`history` a user's newest events that showed interest, both ascending by time and id."""

RECOMMENDATIONS = TableSchema(
    "RECOMMENDATIONS",
    (
        TableColumn("user_id", STRING),
        TableColumn("video_id", STRING),
        TableColumn("score", pa.float32()),
        TableColumn("rank", pa.int32()),
        TableColumn("source", STRING),
    ),
)
"""`rank` counts from 1 for each user, and scores never rise with it; `source` names the recommender."""

RANKED = TableSchema(
    "RANKED",
    (
        *RECOMMENDATIONS.columns,
        TableColumn("p_click", pa.float32()),
        TableColumn("watch_s", pa.float32()),
        TableColumn("p_conv", pa.float32()),
        TableColumn("utility", pa.float32()),
        TableColumn("reasons", pa.list_(STRING)),
    ),
)
"""RECOMMENDATIONS with a ranker's predictions for showing the video: the probability of a click, the expected
seconds of watching (impressions without a watch count as 0), the probability of a click that ends in a
conversion, and the utility of these."""


def is_kind_name(kind: str) -> bool:
    """Return whether a text can be the kind of an event: vrec's or a shop's own."""
    return kind in EVENT_KINDS or re.fullmatch(OWN_KIND_PATTERN, kind) is not None


def conform(table: pa.Table, schema: TableSchema, *, stage: str, extra: bool = False) -> pa.Table:
    """Return the table with the schema's columns in the schema's order, without casting.

    An absent nullable column is added as nulls.

    Args:
        table: Table to check.
        schema: Contract to check against.
        stage: Name of the stage, the start of the error message.
        extra: Drop columns beyond the schema; otherwise they are an error.

    Raises:
        SchemaError: The table differs; the message names all differences, as in
            `ItemKnn.fit: video_id is int64, want string; missing at`.
    """
    problems: list[str] = []
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    fields: list[pa.Field] = []
    for column in schema.columns:
        if column.name not in table.column_names:
            if column.nullable and isinstance(column.type, pa.DataType):
                columns[column.name] = pa.nulls(table.num_rows, column.type)
                fields.append(pa.field(column.name, column.type, nullable=True))
            else:
                problems.append(f"missing {column.name}")
            continue
        data = table.column(column.name)
        problem = _type_problem(column, data.type)
        if problem:
            problems.append(problem)
        elif data.null_count and not column.nullable:
            plural = "null" if data.null_count == 1 else "nulls"
            problems.append(f"{column.name} has {data.null_count} {plural} of {table.num_rows}")
        elif column.type == TIMESTAMP and (outside := _times_outside_years(data)):
            problems.append(f"{column.name} has {outside} outside the years 1 to 9999, of {table.num_rows}")
        columns[column.name] = data
        fields.append(pa.field(column.name, data.type, nullable=column.nullable))
    unknown = [n for n in table.column_names if n not in {c.name for c in schema.columns}]
    if unknown and not extra:
        problems.append(f"unknown {', '.join(unknown)}")
    if problems:
        raise SchemaError(
            f"{stage}: {'; '.join(problems)}",
            fix=f"give it the columns of {schema.name} in docs/tables.md",
        )
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _times_outside_years(times: pa.ChunkedArray | pa.Array) -> int:
    """Return the number of TIMESTAMPs that are no datetime of Python, and could not be shown."""
    micros = times.cast(pa.int64())
    ends = pc.min_max(micros).as_py()
    if ends["min"] is None or (ends["min"] >= FIRST_MICROS and ends["max"] <= LAST_MICROS):
        return 0
    outside = pc.or_(pc.less(micros, FIRST_MICROS), pc.greater(micros, LAST_MICROS))
    return pc.sum(outside).as_py()


def _type_problem(column: TableColumn, got: pa.DataType) -> str | None:
    want = column.type
    if isinstance(want, VectorType):
        matches = pa.types.is_fixed_size_list(got) and got.value_type == want.value_type
        return None if matches else f"{column.name} is {got}, want fixed_size_list<{want.value_type}>"
    if pa.types.is_list(want) and pa.types.is_list(got):
        return None if got.value_type == want.value_type else f"{column.name} is {got}, want {want}"
    return None if got == want else f"{column.name} is {got}, want {want}"
