"""Results of commands, written for a terminal or a log."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from vrec.core.errors import fix_for
from vrec.retrieval.config import COMBINED_KINDS

MOST_FINDINGS = 10
"""Copies and suspicious videos that are printed; the JSON has all."""


def print_embedded(manifest: Mapping[str, Any], out: str) -> None:
    """Print what `vrec embed` did."""
    counts, times, rate = manifest["counts"], manifest["timings"], manifest["throughput"]
    pace = f" at {rate['videos_per_s']:.1f} videos/s" if rate else ""
    done = f"{counts['embedded']:,} of {counts['videos']:,} videos"
    print(f"embedded {done} in {times['wall_s']:.1f} s{pace}: {out}")
    if counts["kept"]:
        print(f"  {counts['kept']:,} unchanged since the last run, {counts['new']:,} new or changed")
    if moments := manifest["moments"]:
        kinds = {"frames": "of pictures", "audio": "of sound", "text": "with words"}
        print("  moments: " + ", ".join(f"{count:,} {kinds[kind]}" for kind, count in moments.items()))
    if ignored := manifest["ignored"]:
        files = "file" if ignored == 1 else "files"
        print(f"  {ignored:,} {files} skipped: no video extension")
    if groups := manifest["near_duplicates"]:
        many = "group" if len(groups) == 1 else "groups"
        print(f"  {len(groups):,} {many} of near-duplicates, such as {', '.join(groups[0][:3])}")
    if doubts := manifest.get("suspicious"):
        video, reason = next(iter(doubts.items()))
        print(f"  {len(doubts):,} suspicious, such as {video}: {reason}")


def print_failures(rows: pa.Table, out: str, console: Console, most: int | None) -> None:
    """Print FAILURES, all rows or the first `most`."""
    shown = rows.to_pylist()[:most]
    # A log has no width: there, a row stays on one line so that it can be searched for.
    if not console.is_terminal:
        for row in shown:
            line = f"{row['video_id']}: {row['error']}: {row['message']}. Fix: {fix_for(row['error'])}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    else:
        table = Table(title=f"{rows.num_rows:,} failed", title_justify="left", show_lines=False)
        for heading in ("video", "error", "why", "how to fix it"):
            table.add_column(heading, overflow="fold")
        for row in shown:
            cells = (row["video_id"], row["error"], row["message"], fix_for(row["error"]))
            table.add_row(*(cell.replace("[", r"\[") for cell in cells))
        console.print(table)
    if len(shown) < rows.num_rows:
        console.print(f"… and {rows.num_rows - len(shown):,} more: vrec failures {out}", soft_wrap=True)


def print_fitted(done: Mapping[str, Any]) -> None:
    """Print what `vrec fit` did."""
    data = f"{done['interactions']:,} interactions of {done['users']:,} users with {done['videos']:,} videos"
    print(f"fitted {done['model']} on {data} in {done['fit_s']:.1f} s: {done['out']}")
    if done["duplicates"]:
        print(f"  {done['duplicates']:,} duplicate events were dropped")
    if done["future"]:
        print(f"  {done['future']:,} events lie in the future and were dropped")
    if "gates" in done and done["gates"]["cut"]:
        print(f"  {done['gates']['cut']:,} events at fault were cut, as events.gates.policy says")
    if "consent" in done:
        left = done["consent"]
        print(f"  {left['events']:,} events of {left['shoppers']:,} shoppers without consent were dropped")
        if left["not_in_log"]:
            print(f"  {left['not_in_log']:,} other shoppers with answers about fits are not in the log")


def print_holding(done: Mapping[str, Any]) -> None:
    """Print the bundles that may hold erased shoppers."""
    if not done["bundles"]:
        print(f"no bundle older than {done['days']:g} days can hold an erased shopper")
    for one in done["bundles"]:
        made = datetime.fromtimestamp(one["made_at"] / 1e6, UTC).date()
        named = f", {one['named']:,} of them by id" if one["named"] else ""
        most = max(one["erased"], one["named"])
        print(f"{one['name']}, made on {made}: up to {most:,} erased shoppers{named}")


def print_private_fit(done: Mapping[str, Any]) -> None:
    """Print what a private fit did and spent."""
    ledger = done["ledger"]
    print(f"fitted {done['model']} with {done['videos']:,} videos in {done['fit_s']:.1f} s: {done['out']}")
    print(f"  ε = {done['epsilon']:g}, δ = {done['delta']:g}, for {done['unit']}")
    print(f"  spent on this data set by now: ε = {ledger['spent']:.3g} of {ledger['budget']:g}")


def print_privacy_audit(done: Mapping[str, Any]) -> None:
    """Print what attackers gained."""
    print(f"{done['model']}, {done['shoppers']:,} shoppers, {done['videos']:,} videos; AUC, .5 is chance")
    sides = done["attacks"]
    titles = {"without": "without privacy", "with": f"ε = {done['epsilon']}"}
    cells = [["attack", *[titles[side] for side in sides]]]
    for rows in zip(*[found["results"] for found in sides.values()], strict=True):
        figures = [f"{row['auc']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in rows]
        cells.append([rows[0]["name"], *figures])
    canaries = [found["canaries"] for found in sides.values()]
    cells.append(["canaries told right", *[f"{one['correct']} of {one['guesses']}" for one in canaries]])
    cells.append(["ε that this proves", *[f"{one['epsilon']:.2f}" for one in canaries]])
    print_table(cells)


def print_rekeyed(done: Mapping[str, Any]) -> None:
    """Print what `vrec privacy rekey` moved."""
    print(f"{done['listed']:,} ids, of which {done['moved']:,} had events under the old key and are moved")
    if done["unlisted"]:
        print(f"{done['unlisted']:,} shoppers in the log are none of these ids:")
        print("  they came under the new key since, or stay under the old one")


def print_privacy_report(done: Mapping[str, Any]) -> None:
    """Print the fits of a ledger, and what they have spent."""
    cells = [["fit", "at", "model", "ε", "ε together"]]
    for fit in done["fits"]:
        spent = [f"{fit[name]:.3f}" for name in ("epsilon", "spent")]
        cells.append([str(fit["entry"]), fit["at"], fit["model"], *spent])
    print_table(cells)
    print(f"δ = {done['delta']:g}, for {done['unit']}")
    print(f"spent: ε = {done['spent']:.3f} of {done['budget']:g}")
    for model in done["models"]:
        part = f", {model['part']}" if model["part"] else ""
        print(f"{model['model']}{part}: fit {model['entry']}, ε = {model['epsilon']:g}")


def print_trained_ranker(done: Mapping[str, Any]) -> None:
    """Print what `vrec train ranker` did, with its metrics on the latest impressions."""
    count, resumed = done["impressions"], done["resumed_from"]
    after = f", {resumed} of them before it was stopped" if resumed else ""
    print(
        f"trained {done['model']} on {count['train']:,} impressions in {done['train_s']:.1f} s: "
        f"{done['epochs']} epochs{after}, best epoch {done['best_epoch']}: {done['out']}"
    )
    print(f"  on the latest {count['test']:,} impressions, beside the smoothed-rate baseline:")
    for name, ours in done["test"]["ranker"].items():
        theirs = done["test"]["rates"].get(name)
        print(f"  {name:<20} {ours:>9.4f}" + ("" if theirs is None else f" {theirs:>9.4f}"))
    for name, why in done["left_out"].items():
        print(f"  {name:<20} not measured: {why}")
    for name, why in done["heads_left_out"].items():
        print(f"  without the head {name}: {why}")
    above = done["click_auc_above_rates"]
    if above["low"] is None:
        interval = f"(too few users for an interval: {above['outcomes']:,})"
    else:
        interval = f"[{above['low']:+.4f}, {above['high']:+.4f}]"
    print(f"  click AUC {above['value']:+.4f} {interval} above the baseline")


def print_evaluated(done: Mapping[str, Any]) -> None:
    """Print the headline metrics of `vrec evaluate`, the best model first."""
    result, data = done["evaluation"], done["data"]
    config, overall = result["config"], result["overall"]
    headline = f"{config['headline_metric']}@{config['headline_k']}"
    names = [f"{name}@{config['headline_k']}" for name in ("recall", "hit_rate", "coverage", "top_share")]
    others = [name for name in names if name != headline]
    print(f"{overall['users']:,} test users of {data['name']}, split {data['split']}; whole catalog ranked")
    cells = [["model", headline, "", "above popular", *others]]
    for model in result["models"]:
        metrics = {**overall["metrics"][model], **result["beyond"][model]}
        difference = overall["against_popular"].get(model, {}).get(headline)
        cells.append(
            [
                model,
                _figure(metrics.get(headline)),
                _interval(metrics.get(headline)),
                "" if difference is None else f"{difference['mean']:+.4f} {_interval(difference, '+')}",
                *[_figure(metrics.get(name)) for name in others],
            ]
        )
    print_table(cells)
    _print_combined(result, headline)
    _print_gains(result, headline)
    _print_too_few(result)
    print(f"open {done['report']}")


def _print_combined(evaluation: Mapping[str, Any], headline: str) -> None:
    """Print the paired differences of models that combine others to the best single model."""
    best, against = evaluation["best_single"], evaluation["overall"]["against_best"]
    combined = [model for model in evaluation["models"] if model in COMBINED_KINDS and model in against]
    if not combined:
        return
    print(f"\n{headline} above {best}, the best single model on this test part, paired over users")
    gaps = {model: against[model][headline] for model in combined if headline in against[model]}
    print_table([[model, f"{gap['mean']:+.4f}", _interval(gap, "+")] for model, gap in gaps.items()])


def _print_gains(evaluation: Mapping[str, Any], headline: str) -> None:
    """Print each model's gain over the popular list in each slice of users and videos."""
    models = [model for model in evaluation["models"] if model in evaluation["overall"]["against_popular"]]
    parts = [part for part in evaluation["slices"] if part["users"]]
    if not models or not parts:
        return
    print(f"\n{headline} above popular, by slice")
    cells = [["", "users", *models]]
    for part in parts:
        gains = [part["against_popular"][model].get(headline) for model in models]
        shown = ["" if gain is None else f"{gain['mean']:+.4f} {_interval(gain, '+')}" for gain in gains]
        cells.append([part["name"], f"{part['users']:,}", *shown])
    print_table(cells)


def print_table(cells: Sequence[Sequence[str]]) -> None:
    """Print rows of texts in columns; the first row has the headings."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_too_few(evaluation: Mapping[str, Any]) -> None:
    """Print to standard error the parts with too few users for intervals."""
    config = evaluation["config"]
    key = f"{config['headline_metric']}@{config['headline_k']}"
    for part in (evaluation["overall"], *evaluation["slices"]):
        found = [estimates[key] for estimates in part["metrics"].values() if key in estimates]
        few = [one["outcomes"] for one in found if one["low"] is None and one["outcomes"] is not None]
        if few:
            models = "any model" if len(few) == len(found) else f"{len(few)} of {len(found)} models"
            print(
                f"{part['name']}: too few users for an interval of {models}: at most {max(few):,} of "
                f"{part['users']:,} differ from the most frequent {key}, "
                f"{config['min_outcomes']} are needed",
                file=sys.stderr,
            )


def _figure(estimate: Mapping[str, Any] | None) -> str:
    return "" if estimate is None or estimate["mean"] is None else f"{estimate['mean']:.4f}"


def _interval(estimate: Mapping[str, Any] | None, sign: str = "") -> str:
    if estimate is None or estimate["low"] is None:
        few = None if estimate is None else estimate["outcomes"]
        return "" if few is None else f"too few ({few:,})"
    return f"[{estimate['low']:{sign}.4f}, {estimate['high']:{sign}.4f}]"


def print_bundled(done: Mapping[str, Any]) -> None:
    """Print what `vrec bundle` wrote."""
    known = f"{done['vectors']:,} with vectors, {done['neighbours']:,} with neighbours"
    size = f"{done['bytes'] / 1e6:,.1f} MB in {done['seconds']:.1f} s"
    order = ", in the recommender's order" if done["ranker"] == "neighbors" else ""
    known += f", {done['moments']:,} moments" if done.get("moments") else ""
    print(f"bundle {done['version']} of {done['videos']:,} videos{order}, {known}, {size}: {done['out']}")
    for found, what in (("copies", "a later copy of"), ("suspicious", "suspicious:")):
        for video_id, reason in list(done.get(found, {}).items())[:MOST_FINDINGS]:
            held = ", held back" if video_id in done["held_back"] else ""
            print(f"  {video_id}: {what} {reason}{held}")


def print_recommendations(rows: pa.Table) -> None:
    """Print RECOMMENDATIONS as JSON lines."""
    for row in rows.to_pylist():
        print(json.dumps(row | {"score": round(row["score"], 6)}, ensure_ascii=False))


def print_unanswered(count: int, examples: Sequence[str]) -> None:
    """Print to standard error which users got no recommendation; the first 20 are named."""
    if count:
        named = ", ".join(examples[:20]) + (", …" if count > 20 else "")
        users = "user" if count == 1 else "users"
        print(
            f"vrec: no recommendation for {count:,} {users}, unknown or with nothing left to see: {named}",
            file=sys.stderr,
        )


def print_trained_encoder(done: Mapping[str, Any]) -> None:
    """Print what `vrec train encoder` did, and how to use the encoder."""
    videos, seen = done["videos"], done["behaviour"]
    kept = "unchanged since the last run" if done["reused"] else f"{videos['new']:,} new or changed"
    print(f"features of {videos['features']:,} videos, {kept}: {done['features']}")
    for failed in done["failures"][:20]:
        print(f"  {failed['video_id']}: {failed['error']}: {failed['message']}")
    if videos["failed"] > 20:
        print(f"  … and {videos['failed'] - 20:,} more")
    if seen:
        print(
            f"{seen['pairs']:,} pairs of {seen['paired']:,} videos that the same shoppers watched, "
            f"{seen['targets']:,} with a target vector; {seen['videos']:,} watched videos in all"
        )
        if seen["unknown"]:
            print(f"  {seen['unknown']:,} watched videos have no features and were dropped")
    after = f", {done['resumed_from']} of them before it was stopped" if done["resumed_from"] else ""
    print(
        f"trained {done['model']} ({done['objective']}) on {', '.join(done['takes'])} in "
        f"{done['train_s']:.1f} s: {done['epochs']} epochs{after}, best epoch "
        f"{done['best_epoch']}: {done['out']}"
    )
    if done["stopped"]:
        print(f"  stopped: {done['stopped']}")
    if done["judged"]:
        rank = done["validation"]["mrr"]
        print(f"  mean reciprocal rank on held-out videos: {rank:.3f}")
    else:
        print("  too few videos to hold some out: the training loss chose the epoch")
    print("to use it, embed with it, then fit and evaluate on those embeddings:")
    print(f"  vrec embed --videos … --out … {done['use']}")


def print_recommended(done: Mapping[str, Any], out: str) -> None:
    """Print what `vrec recommend --out` did."""
    print(f"{done['rows']:,} rows for {done['users']:,} users in {done['seconds']:.1f} s: {out}")


def print_demo(done: Mapping[str, Any], out: str, *, is_drawn: bool) -> None:
    """Print what `vrec demo` did in the folder `out`, and how to serve it, drawn ones with live streams."""
    print_embedded(done, os.path.join(out, "tables"))
    print(f"open {done['report']}")
    if shop := done["shop"]:
        print(f"{shop['events']:,} events of simulated shoppers: open {shop['report']}")
        print(f"  vrec recommend --model {shop['model']} --k 5 asks the model that was fitted on them")
        print("to see it served, with the page at http://127.0.0.1:8000:")
        serve = f"  vrec serve --bundle {shop['bundle']} --data {os.path.join(out, 'serve')}"
        if not is_drawn:
            print(f"{serve} --events {shop['log']}")
            _print_links()
            return
        roots = json.dumps([os.path.abspath(os.path.join(out, "streams"))])
        print(f"{serve} --events {shop['log']} \\\n      --set 'serve.security.media_roots={roots}'")
        print("and in another terminal, live streams whose segments appear now and change what they show:")
        print(f"  vrec demo --out {out} --live http://127.0.0.1:8000")
        _print_links()


def _print_links() -> None:
    """Print how to link a shopper of the page to an account elsewhere, which a page cannot do."""
    print('for the switch "I watched this on “social”" in the player of the page, link the shopper that the')
    print("page names to an account there, with consent; and end the link:")
    path = "http://127.0.0.1:8000/v1/links/social/SHOPPER"
    body = json.dumps({"other_user_id": "acc-1", "consent": True})
    print(f"  curl -X PUT {path} -H 'Content-Type: application/json' -d '{body}'")
    print(f"  curl -X DELETE {path}")


def print_compressed(done: Mapping[str, Any], console: Console) -> None:
    """Print the table, and how to use what was chosen."""
    console.print(_compression_table(done))
    behind = f", behind the head {done['head']}" if done["head"] else ""
    if done["labelled"]:
        print("1-NN: % of labelled videos whose nearest has their label; lost: points below the original")
        print("other source: the same where the nearest must be of another source")
    print("speed: times as fast as the original, on one core")
    print(f"kept: % of a video's 10 nearest, as the original has them, that stay{behind}; new: the same of")
    print(f"videos not learned from ({done['new_videos']:,} where a network learned)")
    for method, why in done["failed"].items():
        print(f"{method} failed: {why}")
    if done["left_out"]:
        name, why = next(iter(done["left_out"].items()))
        print(f"{len(done['left_out']):,} videos were left out, such as {name}: {why}")
    if done["chosen"] is None:
        print("none is faster at so small a loss, and nothing was written; what may be lost is set by")
        print("compress.max_accuracy_loss with labels and compress.min_recall without")
        return
    print(f"{done['chosen']} is the fastest that loses no more than allowed: {done['out']}")
    if done["lost_fusion"]:
        print(f"the learned fusion {done['lost_fusion']} takes the original's features, and is left out:")
        print("train one on the new ones with `vrec train encoder` and the config below")
    print(f"  vrec embed --videos … --out … --config {done['config']}")


def _compression_table(done: Mapping[str, Any]) -> Table:
    labelled, first = done["labelled"] > 0, done["rows"][0]
    title = f"{done['videos']:,} videos, {done['labelled']:,} labelled"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    headings = ["network", "px", "runs on", "MB", "frames\n/ s", "speed"]
    headings += ["1-NN", "lost", "other\nsource"] if labelled else []
    rows = []
    for row in done["rows"]:
        mark = " ←" if row["method"] == done["chosen"] else ""
        cells = [row["method"] + mark, str(row["frame_px"]), row["runtime"], f"{row['megabytes']:.1f}"]
        cells += [f"{row['frames_per_s']:.0f}", f"{row['speed']:.2f}×"]
        if labelled:
            cells += [_percent(row["one_nn"]), _percent(first["one_nn"] - row["one_nn"])]
            cells.append(_percent(row["other_source"]))
        rows.append([*cells, _percent(row["recall"]), _percent(row["recall_new"])])
    for number, heading in enumerate([*headings, "kept", "new"]):
        # Where a terminal is narrow, headings are broken and no figure is.
        width = max(len(row[number]) for row in rows)
        table.add_column(heading, justify="left" if number in (0, 2) else "right", min_width=width)
    for row in rows:
        table.add_row(*row)
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
