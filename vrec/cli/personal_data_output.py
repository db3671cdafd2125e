"""Results of commands on personal data, written for a terminal or a log."""

from collections.abc import Mapping
from typing import Any

from vrec.cli.output import print_table


def print_pseudonymised(done: Mapping[str, Any]) -> None:
    """Print what `vrec pseudonymise` wrote."""
    what = "pseudonyms of the new key" if done["rotated"] else "pseudonyms"
    what = "opened links" if done["opened"] else what
    print(f"{done['rows']:,} rows with {what}: {done['out']}")


def print_pii(done: Mapping[str, Any]) -> None:
    """Print where personal data was found, each with a masked example."""
    cells = [["table", "column", "kind", "values", "of", "such as"]]
    for row in done["found"]:
        counts = [f"{row['values']:,}", f"{row['of']:,}"]
        cells.append([row["table"], row["column"], row["kind"], *counts, row["example"]])
    if done["found"]:
        print_table(cells)
    else:
        print("no personal data found")
    for row in done["look_alikes"]:
        print(
            f"not counted: {row['look_alikes']:,} numbers of {row['column']} that could be a {row['kind']}, "
            "and too few others there do"
        )
    if done["out"]:
        print(f"written without it: {done['out']}")


def print_anonymised(done: Mapping[str, Any]) -> None:
    """Print what `vrec anonymise` wrote and left out, and the risk before and after."""
    diverse = f", diversity {done['diversity']}" if done["diversity"] > 1 else ""
    print(f"{done['written']:,} of {done['rows']:,} rows at k = {done['k']}{diverse}: {done['out']}")
    print(
        f"  suppressed {done['suppressed']:,} rows, and {done['without_shopper']:,} without a shopper; of "
        f"{done['shoppers']:,} shoppers {done['shoppers_left']:,} are left"
    )
    for name, level in done["levels"].items():
        print(f"  {name}: {level}")
    print(f"  as they are: {', '.join(done['sensitive']) or 'none'}; left out: {', '.join(done['dropped'])}")
    cells = [["known events", "shoppers unique before", "after" if done["numbers"] else "after, if joined"]]
    for rows in zip(done["risk"]["before"], done["risk"]["after"], strict=True):
        cells.append([str(rows[0]["known"]), *(_unicity(row) for row in rows)])
    print_table(cells)
    if not done["numbers"]:
        print("rows of one shopper are not joined; the last column is the risk if someone joined them")


def _unicity(row: Mapping[str, Any]) -> str:
    interval = "" if row["exact"] else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['share']:.3f}{interval}"
