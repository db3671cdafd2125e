"""Checks of LINKS: accounts of shoppers in other domains."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from vrec.robustness.gates.findings import GateFinding

SHARED = 5
"""Shoppers of one account from which it is more than a family's."""


def check_links(links: pa.Table, now: datetime) -> list[GateFinding]:
    """Return what is wrong with LINKS."""
    frame = pl.from_arrow(links)
    assert isinstance(frame, pl.DataFrame)
    account = pl.struct("other_domain", "other_user_id")
    shoppers = pl.col("user_id").n_unique().over("other_domain", "other_user_id")
    rules = (
        (
            "consent_in_future",
            "consented_at",
            pl.col("consented_at") > now,
            "consents are later than the present",
        ),
        (
            "revoked_first",
            "revoked_at",
            pl.col("revoked_at") < pl.col("consented_at"),
            "links are revoked before they hold",
        ),
        (
            "shared_account",
            "other_user_id",
            shoppers > SHARED,
            f"links are of accounts of more than {SHARED} shoppers",
        ),
        (
            "repeated_link",
            "user_id",
            pl.struct("user_id", account).is_duplicated(),
            "rows link one shopper and account twice",
        ),
    )
    found = []
    for gate, column, rule, words in rules:
        bad = frame.select(rule.fill_null(value=False)).to_series()
        count = int(bad.sum())
        if not count:
            continue
        rows = tuple(int(row) + 1 for row in bad.arg_true()[:3])
        # A link may be made twice; consent is of the last one.
        level = "notice" if gate == "repeated_link" else "fault"
        message = f"{count:,} of {frame.height:,} {words}"
        found.append(GateFinding(gate, "LINKS", (column,), message, level, (), count, rows))
    return found
