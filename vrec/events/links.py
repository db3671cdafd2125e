"""LINKS: accounts of shoppers in other domains, and the events of these accounts under the shoppers' ids."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, LINKS
from vrec.events.columns import as_text, as_time, is_missing_id
from vrec.events.formats import load_columns
from vrec.events.polars_tables import describe_invalid, from_polars, to_polars

_COLUMNS = tuple(column.name for column in LINKS.columns)
_FIX = "write the columns as docs/tables.md says for LINKS"


def read_links(uri: str) -> pa.Table:
    """Read LINKS from Parquet, CSV, TSV or JSON lines at a path or URI.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    frame = load_columns(uri, lambda names: {name: name for name in _COLUMNS if name in names})
    absent = [name for name in _COLUMNS if name not in frame.columns and name != "revoked_at"]
    if absent:
        raise EventsError(f"{uri}: no column {', '.join(absent)}", fix=_FIX)
    problems: list[str | None] = []
    columns: list[pl.Series] = []
    for name in frame.columns:
        if name.endswith("_at"):
            column, problem = as_time(frame.get_column(name))
            if problem is None and name == "consented_at":
                problem = describe_invalid(frame, name, column.is_null(), "missing")
        else:
            column, problem = as_text(frame.get_column(name))
            problem = problem or describe_invalid(
                frame, name, is_missing_id(column) | column.is_null(), "missing"
            )
        columns.append(column)
        problems.append(problem)
    if told := [problem for problem in problems if problem]:
        raise EventsError(f"{uri}: {'; '.join(told)}", fix=_FIX)
    return from_polars(pl.DataFrame(columns), LINKS, f"links {uri}")


def other_domains(links: pa.Table) -> tuple[str, ...]:
    """Return the domains in `other_domain` of LINKS, ascending."""
    return tuple(sorted(set(links.column("other_domain").to_pylist())))


def link_shoppers(events: pa.Table, videos: pa.Table, links: pa.Table, at: datetime) -> pa.Table:
    """Return events with those of linked accounts under the shoppers' ids.

    A link holds from `consented_at` until `revoked_at`. An account that is linked to several shoppers belongs
    to the one who agreed last. Events of other domains whose account is linked to nobody are left out, so
    that a revoked link leaves what there would be without it. Equal ids in two domains are not a link.

    Args:
        events: EVENTS of all domains.
        videos: VIDEOS, whose `domain` is that of their events; a video that is not there is of the shop.
        links: LINKS. The domains in `other_domain` are the other ones.
        at: Time, in UTC, at which a link must hold.

    Returns:
        EVENTS in the same order.
    """
    frame, known = to_polars(events), to_polars(videos.select(["video_id", "domain"]))
    rows = to_polars(links)
    others = rows.get_column("other_domain").unique()
    holds = (pl.col("consented_at") <= at) & (pl.col("revoked_at").is_null() | (pl.col("revoked_at") > at))
    accounts = (
        rows.filter(holds)
        .sort("consented_at", "user_id")
        .unique(["other_domain", "other_user_id"], keep="last", maintain_order=True)
        .select("other_domain", "other_user_id", shopper="user_id")
    )
    domain = frame.select("video_id").join(
        known.unique("video_id", keep="first", maintain_order=True), on="video_id", how="left",
        maintain_order="left",
    )  # fmt: skip
    elsewhere = domain.get_column("domain").is_in(others.implode()).fill_null(value=False)
    frame = frame.with_columns(_domain=domain.get_column("domain"), _elsewhere=elsewhere)
    linked = frame.join(
        accounts,
        left_on=["_domain", "user_id"],
        right_on=["other_domain", "other_user_id"],
        how="left",
        maintain_order="left",
    )
    linked = linked.filter(~pl.col("_elsewhere") | pl.col("shopper").is_not_null())
    user = pl.when("_elsewhere").then("shopper").otherwise("user_id")
    return from_polars(linked.with_columns(user_id=user), EVENTS, "link_shoppers")
