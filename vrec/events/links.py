"""LINKS: accounts of shoppers in other domains, and the events of these accounts under the shoppers' ids."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.schema import DOMAIN_PREFIX, EVENTS, LINKS
from vrec.events.polars_tables import from_polars, to_polars
from vrec.events.relation_tables import read_relations


def read_links(uri: str) -> pa.Table:
    """Read LINKS from Parquet, CSV, TSV or JSON lines at a path or URI.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    return read_relations(uri, LINKS, "consented_at", "revoked_at")


def other_domains(links: pa.Table) -> tuple[str, ...]:
    """Return the domains in `other_domain` of LINKS, ascending."""
    return tuple(sorted(set(links.column("other_domain").to_pylist())))


def without_accounts(events: pa.Table) -> pa.Table:
    """Return EVENTS without those of accounts in other domains, which a service stores beside the shop's."""
    of_account = pc.starts_with(events.column("user_id"), DOMAIN_PREFIX)
    return events.filter(pc.invert(of_account)) if pc.any(of_account).as_py() else events


def link_shoppers(events: pa.Table, videos: pa.Table, links: pa.Table, at: datetime) -> pa.Table:
    """Return events with those of linked accounts under the shoppers' ids.

    A link holds from `consented_at` until `revoked_at`. An account that is linked to several shoppers belongs
    to the one who agreed last. Events of other domains whose account is linked to nobody are left out, so
    that a revoked link leaves what there would be without it. Equal ids in two domains are not a link.
    Events that a service has stored say in their `user_id` of which domain the account is.

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
    stored = frame.get_column("user_id").str.extract_groups(f"^{DOMAIN_PREFIX}([^:]*):(?s:(.*))$").struct
    named, account = stored.field("1"), stored.field("2")
    of_video = domain.get_column("domain")
    frame = frame.with_columns(
        user_id=account.fill_null(frame.get_column("user_id")),
        _domain=named.fill_null(of_video),
        _elsewhere=named.is_not_null() | of_video.is_in(others.implode()).fill_null(value=False),
    )
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
