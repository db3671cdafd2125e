"""What `vrec anonymise` leaves of MovieLens-100k, at which risk, and its cost beside a plain copy.

Run as `OMP_NUM_THREADS=1 python benchmarks/anonymous.py DATA`, where DATA is the folder of the public sets.
The ratings are joined with the age, gender, occupation and postal code of their shoppers and the genre of
their films. Two things are compared: the levels that the search finds, with the rows and the bits per row
that they leave, beside the finest and the most general levels without a search; and CPU seconds beside
reading and writing the same table in batches. The risk is the share of shoppers who are unique on 1 to 4
known events. Nothing was tuned on the set.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from harness import interleaved_times

from vrec.core.errors import PrivacyError
from vrec.core.table_batches import open_table, write_table
from vrec.pipelines.personal_data import anonymise
from vrec.privacy.anonymous.config import AnonymousConfig

SHOPPER: Mapping[str, Any] = {
    "age": {"kind": "number", "widths": [5, 10, 20]},
    "gender": {"kind": "category"},
    "occupation": {"kind": "category", "rare": 20},
    "zip": {"kind": "prefix", "lengths": [3, 2, 1]},
}
EVENT: Mapping[str, Any] = {
    "genre": {"kind": "category", "rare": 100},
    "at": {"kind": "time", "units": ["day", "week", "month", "quarter"]},
}


def rated(folder: Path) -> pl.DataFrame:
    """Return the ratings with what is known of shoppers and films."""
    parts = {}
    for name in ("inter", "user", "item"):
        frame = pl.read_csv(
            folder / "ml100k" / f"ml-100k.{name}", separator="\t", quote_char=None, infer_schema_length=None
        )
        parts[name] = frame.rename({column: column.split(":")[0] for column in frame.columns})
    people = parts["user"].rename({"zip_code": "zip"}).with_columns(pl.col("zip").cast(pl.String))
    films = parts["item"].select("item_id", genre=pl.col("class").str.split(" ").list.first())
    rows = parts["inter"].join(people, on="user_id").join(films, on="item_id")
    return rows.with_columns(at=pl.from_epoch(pl.col("timestamp").cast(pl.Int64)).dt.replace_time_zone("UTC"))


def store(frame: pl.DataFrame, path: Path) -> str:
    pq.write_table(frame.to_arrow(), path)
    return str(path)


def shares(rows: list[dict[str, Any]]) -> str:
    return " ".join(f"{row['share']:.3f}" for row in rows)


def bits(path: str, names: list[str]) -> float:
    """Return the entropy of the quasi-identifiers of a table, each by itself, in bits per row."""
    frame = pl.read_parquet(path)
    return sum(frame[name].value_counts()["count"].entropy(base=2) or 0.0 for name in names)


def levels(folder: Path, frame: pl.DataFrame, title: str, quasi: Mapping[str, Any], **more: Any) -> None:
    """Print what is left at several k, with and without a search."""
    source = store(frame, folder / "source.parquet")
    print(f"\n{title}: {frame.height:,} rows, {frame['user_id'].n_unique():,} shoppers")
    print("| k | levels | rows left | shoppers left | bits per row | unique on 1 to 4, before | after |")
    print("|---|---|---|---|---|---|---|")
    last = {name: {**column, **_last(column)} for name, column in quasi.items()}
    for k in (2, 5, 10, 50):
        for kind, chosen, bound in (("finest", quasi, None), ("last", last, None), ("searched", quasi, 0.05)):
            given = {"quasi_identifiers": chosen, "sensitive": ["rating"], "k": k, "max_suppressed": bound}
            config = AnonymousConfig.model_validate(given | more)
            try:
                done = anonymise(source, str(folder / "out.parquet"), config)
            except PrivacyError as error:
                print(f"| {k} | {kind} | none: {str(error).rpartition('; ')[2]} | | | | |", flush=True)
                continue
            named = ", ".join(f"{name} {level}" for name, level in done["levels"].items())
            left = f"{done['written'] / done['rows']:.1%} | {done['shoppers_left'] / done['shoppers']:.1%}"
            kept = bits(str(folder / "out.parquet"), list(quasi))
            risk = " | ".join(shares(done["risk"][side]) for side in ("before", "after"))
            print(f"| {k} | {kind}: {named} | {left} | {kept:.2f} | {risk} |", flush=True)


def _last(column: Mapping[str, Any]) -> dict[str, Any]:
    """Return the most general level of a column that does not hide it."""
    return {key: [column[key][-1]] for key in ("widths", "units", "lengths") if key in column}


def cost(folder: Path, frame: pl.DataFrame, rounds: int) -> None:
    """Print CPU seconds beside a plain copy, at several sizes."""
    print("\n| rows | copy, CPU s | anonymise | ratio | with search | ratio |\n|---|---|---|---|---|---|")
    for size in (10_000, 30_000, frame.height):
        source, out = store(frame.head(size), folder / "source.parquet"), str(folder / "out.parquet")
        given = {"quasi_identifiers": {**SHOPPER, **EVENT}, "sensitive": ["rating"], "k": 2}
        plain = AnonymousConfig.model_validate(given | {"quasi_identifiers": EVENT})
        searched = AnonymousConfig.model_validate(given | {"max_suppressed": 0.05})

        def copy(source: str = source, out: str = out) -> None:
            table = open_table(source)
            write_table(out, table.schema, iter(table), source=source)

        sides = {
            "copy": copy,
            "plain": lambda source=source, out=out, config=plain: anonymise(source, out, config),
            "searched": lambda source=source, out=out, config=searched: anonymise(source, out, config),
        }
        taken = {
            name: statistics.median(cpu for _, cpu in times)
            for name, times in interleaved_times(sides, rounds).items()
        }
        ratios = [f"{taken[name]:.2f} | {taken[name] / taken['copy']:.0f}" for name in ("plain", "searched")]
        print(f"| {size:,} | {taken['copy']:.3f} | {' | '.join(ratios)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    frame = rated(given.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = frame.unique("user_id", maintain_order=True)
        levels(folder, people, "one row per shopper, with numbers", SHOPPER, numbers=True)
        levels(folder, frame, "ratings, genre and time", EVENT)
        levels(folder, frame, "ratings, all columns", {**SHOPPER, **EVENT})
        cost(folder, frame, given.rounds)


if __name__ == "__main__":
    main()
