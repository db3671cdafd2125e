"""The tables of vrec as Arrow schemas, and `conform`, which stands at every stage's entry and exit."""

from dataclasses import dataclass

import pyarrow as pa

from vrec.core.errors import SchemaError

STR = pa.string()
AT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Vector:
    """A column of float32 vectors, all of one length that the table's writer chooses."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its Arrow type (or Vector), and whether it may hold nulls or be absent."""

    name: str
    type: pa.DataType | Vector
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """A table's contract: its name and its columns in order."""

    name: str
    columns: tuple[Column, ...]

    def arrow(self, dim: int | None = None) -> pa.Schema:
        """The Arrow schema; `dim` is the vectors' length and is needed where there is a vector column.

        Raises ValueError when a vector column has no `dim`.
        """
        fields: list[pa.Field] = []
        for column in self.columns:
            kind = column.type
            if isinstance(kind, Vector):
                if dim is None:
                    raise ValueError(f"{self.name}.{column.name} needs a dim")
                kind = pa.list_(pa.float32(), dim)
            fields.append(pa.field(column.name, kind, nullable=column.nullable))
        return pa.schema(fields)


VIDEOS = Schema(
    "VIDEOS",
    (
        Column("video_id", STR),
        Column("uri", STR),
        Column("kind", STR),
        Column("product_ids", pa.list_(STR)),
        Column("creator_id", STR),
        Column("domain", STR),
        Column("category", STR, nullable=True),
        Column("tags", pa.list_(STR)),
        Column("title", STR, nullable=True),
        Column("language", STR, nullable=True),
        Column("price", pa.float32(), nullable=True),
        Column("duration_s", pa.float32(), nullable=True),
        Column("published_at", AT, nullable=True),
        Column("available", pa.bool_()),
    ),
)

EMBEDDINGS = Schema(
    "EMBEDDINGS",
    (
        Column("entity_id", STR),
        Column("modality", STR),
        Column("encoder", STR),
        Column("content_hash", STR),
        Column("vector", Vector()),
    ),
)

FAILURES = Schema(
    "FAILURES",
    (
        Column("video_id", STR),
        Column("uri", STR),
        Column("stage", STR),
        Column("error", STR),
        Column("message", STR),
        Column("at", AT),
    ),
)

MEDIA = Schema(
    "MEDIA",
    (
        Column("video_id", STR),
        Column("uri", STR),
        Column("content_hash", STR, nullable=True),
        Column("text_hash", STR),
        Column("recipe", STR),
        Column("error", STR, nullable=True),
        Column("decoder", STR, nullable=True),
        Column("width", pa.int32(), nullable=True),
        Column("height", pa.int32(), nullable=True),
        Column("fps", pa.float32(), nullable=True),
        Column("duration_s", pa.float32(), nullable=True),
        Column("frames", pa.int32()),
        Column("has_audio", pa.bool_()),
        Column("phash", STR, nullable=True),
        Column("note", STR, nullable=True),
        Column("decode_s", pa.float32()),
        Column("encode_s", pa.float32()),
    ),
)
"""One row a video, failed (`error` names FAILURES.error) or not: what its bytes are and who decoded them."""


EVENT_KINDS = ("impression", "click", "watch", "like", "share", "follow", "cart", "purchase")
"""What EVENTS.kind may be, from the weakest sign of interest to the strongest."""

EVENTS = Schema(
    "EVENTS",
    (
        Column("event_id", STR),
        Column("user_id", STR),
        Column("video_id", STR),
        Column("kind", STR),
        Column("value", pa.float32(), nullable=True),
        Column("position", pa.int16(), nullable=True),
        Column("request_id", STR, nullable=True),
        Column("propensity", pa.float32(), nullable=True),
        Column("domain", STR),
        Column("at", AT),
    ),
)
"""One row an event: `value` is seconds for a watch and money for a purchase; `position` counts from 0;
`propensity` is the probability with which the logging policy showed this video there."""

INTERACTIONS = Schema(
    "INTERACTIONS",
    (
        Column("user_id", STR),
        Column("video_id", STR),
        Column("weight", pa.float32()),
        Column("at", AT),
    ),
)
"""One row for a user and a video: how strong the interest is (> 0), and when it was last shown."""

COUNTS = pa.map_(STR, pa.float64())
SEEN_EVENT = pa.struct([("at", AT), ("event_id", STR)])
INTEREST = pa.struct([("at", AT), ("event_id", STR), ("video_id", STR), ("weight", pa.float32())])

PROFILES = Schema(
    "PROFILES",
    (
        Column("entity", STR),
        Column("entity_id", STR),
        Column("vector", Vector(), nullable=True),
        Column("counts", COUNTS),
        Column("last_event_id", STR, nullable=True),
        Column("updated_at", AT),
        Column("seen", pa.list_(SEEN_EVENT), nullable=True),
        Column("history", pa.list_(INTEREST), nullable=True),
    ),
)
"""One row a profile; `entity` is user, video, streamer or creator. `seen` are the newest events noted, and
`history` a user's newest events that showed interest, both ascending by time and id."""

RECOMMENDATIONS = Schema(
    "RECOMMENDATIONS",
    (
        Column("user_id", STR),
        Column("video_id", STR),
        Column("score", pa.float32()),
        Column("rank", pa.int32()),
        Column("source", STR),
    ),
)
"""`rank` counts from 1 for each user and scores never rise with it; `source` names the recommender."""

RANKED = Schema(
    "RANKED",
    (
        *RECOMMENDATIONS.columns,
        Column("p_click", pa.float32()),
        Column("watch_s", pa.float32()),
        Column("p_conv", pa.float32()),
        Column("utility", pa.float32()),
        Column("reasons", pa.list_(STR)),
    ),
)
"""RECOMMENDATIONS with what a ranker expects if the video is shown: the chance of a click, the seconds of
watching (0 for none included), the chance of a click that ends in a conversion, and what that is worth."""


def conform(table: pa.Table, schema: Schema, *, stage: str, extra: bool = False) -> pa.Table:
    """The same table with the schema's columns in the schema's order; nothing is cast.

    A nullable column that is absent is added as nulls. Columns beyond the schema are an
    error unless `extra`, which drops them. Raises SchemaError that names everything wrong
    at once, as in `ItemKnn.fit: video_id is int64, want string; missing at`.
    """
    wrong: list[str] = []
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    fields: list[pa.Field] = []
    for column in schema.columns:
        if column.name not in table.column_names:
            if column.nullable and isinstance(column.type, pa.DataType):
                columns[column.name] = pa.nulls(table.num_rows, column.type)
                fields.append(pa.field(column.name, column.type, nullable=True))
            else:
                wrong.append(f"missing {column.name}")
            continue
        data = table.column(column.name)
        problem = _type_problem(column, data.type)
        if problem:
            wrong.append(problem)
        elif data.null_count and not column.nullable:
            plural = "null" if data.null_count == 1 else "nulls"
            wrong.append(f"{column.name} has {data.null_count} {plural} of {table.num_rows}")
        columns[column.name] = data
        fields.append(pa.field(column.name, data.type, nullable=column.nullable))
    unknown = [n for n in table.column_names if n not in {c.name for c in schema.columns}]
    if unknown and not extra:
        wrong.append(f"unknown {', '.join(unknown)}")
    if wrong:
        raise SchemaError(
            f"{stage}: {'; '.join(wrong)}",
            mend=f"give it the columns of {schema.name} in docs/tables.md",
        )
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _type_problem(column: Column, got: pa.DataType) -> str | None:
    want = column.type
    if isinstance(want, Vector):
        good = pa.types.is_fixed_size_list(got) and got.value_type == pa.float32()
        return None if good else f"{column.name} is {got}, want fixed_size_list<float>"
    if pa.types.is_list(want) and pa.types.is_list(got):
        return None if got.value_type == want.value_type else f"{column.name} is {got}, want {want}"
    return None if got == want else f"{column.name} is {got}, want {want}"
