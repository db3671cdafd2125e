"""What the commands say on a terminal or into a log."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from vrec.core.errors import mend_of


def say_embedded(manifest: Mapping[str, Any], out: str) -> None:
    """Prints what `vrec embed` did."""
    counts, times, rate = manifest["counts"], manifest["timings"], manifest["throughput"]
    pace = f" at {rate['videos_per_s']:.1f} videos/s" if rate else ""
    done = f"{counts['embedded']:,} of {counts['videos']:,} videos"
    print(f"embedded {done} in {times['wall_s']:.1f} s{pace}: {out}")
    if counts["kept"]:
        print(f"  {counts['kept']:,} unchanged since the last run, {counts['new']:,} new or changed")
    if ignored := manifest["ignored"]:
        files = "file" if ignored == 1 else "files"
        print(f"  {ignored:,} {files} passed over: not a video by the ending")
    if groups := manifest["near_duplicates"]:
        many = "group" if len(groups) == 1 else "groups"
        print(f"  {len(groups):,} {many} of near-duplicates, such as {', '.join(groups[0][:3])}")


def list_failures(rows: pa.Table, out: str, console: Console, most: int | None) -> None:
    """Prints FAILURES, all of them or the first `most`."""
    shown = rows.to_pylist()[:most]
    # A log has no width: there, a row stays on one line so that it can be searched for.
    if not console.is_terminal:
        for row in shown:
            line = f"{row['video_id']}: {row['error']}: {row['message']}. To mend it: {mend_of(row['error'])}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    else:
        table = Table(title=f"{rows.num_rows:,} failed", title_justify="left", show_lines=False)
        for heading in ("video", "error", "why", "how to mend it"):
            table.add_column(heading, overflow="fold")
        for row in shown:
            cells = (row["video_id"], row["error"], row["message"], mend_of(row["error"]))
            table.add_row(*(cell.replace("[", r"\[") for cell in cells))
        console.print(table)
    if len(shown) < rows.num_rows:
        console.print(f"… and {rows.num_rows - len(shown):,} more: vrec failures {out}", soft_wrap=True)


def say_fitted(done: Mapping[str, Any]) -> None:
    """Prints what `vrec fit` did."""
    know = f"{done['interactions']:,} interactions of {done['users']:,} users with {done['videos']:,} videos"
    print(f"fitted {done['model']} on {know} in {done['fit_s']:.1f} s: {done['out']}")
    if done["duplicates"]:
        print(f"  {done['duplicates']:,} events were there twice and count once")
    if done["future"]:
        print(f"  {done['future']:,} events lie in the future and were left out")


def say_trained(done: Mapping[str, Any]) -> None:
    """Prints what `vrec train ranker` did, and what the latest impressions say of it."""
    count, resumed = done["impressions"], done["resumed_from"]
    after = f", {resumed} of them before it was stopped" if resumed else ""
    print(
        f"trained {done['model']} on {count['train']:,} impressions in {done['train_s']:.1f} s: "
        f"{done['epochs']} epochs{after}, the best was epoch {done['best_epoch']}: {done['out']}"
    )
    print(f"  on the latest {count['test']:,} impressions, beside counts alone:")
    for name, ours in done["test"]["ranker"].items():
        theirs = done["test"]["rates"].get(name)
        print(f"  {name:<20} {ours:>9.4f}" + ("" if theirs is None else f" {theirs:>9.4f}"))
    for name, why in done["left_out"].items():
        print(f"  {name:<20} not said: {why}")
    difference, low, high = done["click_auc_above_rates"]
    print(f"  click AUC {difference:+.4f} [{low:+.4f}, {high:+.4f}] above counts alone")


def say_bundled(done: Mapping[str, Any]) -> None:
    """Prints what `vrec bundle` put together."""
    known = f"{done['vectors']:,} with vectors, {done['neighbours']:,} with neighbours"
    size = f"{done['bytes'] / 1e6:,.1f} MB in {done['seconds']:.1f} s"
    print(f"bundle {done['version']} of {done['videos']:,} videos, {known}, {size}: {done['out']}")


def say_recommendations(rows: pa.Table) -> None:
    """Prints RECOMMENDATIONS as JSON lines."""
    for row in rows.to_pylist():
        print(json.dumps(row | {"score": round(row["score"], 6)}, ensure_ascii=False))
