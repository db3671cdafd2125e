"""`vrec robustness`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vrec.cli.options import (
    EXIT_OK,
    EventsFormatOptions,
    LogOptions,
    OutputOptions,
    SettingsOptions,
    check_paths,
    command,
    parse_column_map,
)
from vrec.cli.output import print_table


@command
def robustness_bench(
    *,
    log: LogOptions,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Which recommender: popular, item_knn, ease or als. May be repeated; all by default."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="A folder for all results as JSON; a path or a URI.")
    ] = None,
    run: SettingsOptions,
) -> int:
    """Attack recommenders with fake shoppers, and show what the defences of fits remove."""
    settings = run.settings()
    inputs = log.inputs()
    from vrec.pipelines.attack_bench import bench_attacks

    run.show(bench_attacks(inputs, settings, models=model or (), out=out), print_attacks)
    return EXIT_OK


@command
def robustness_content(
    *,
    embeddings: Annotated[str, typer.Option(help="An embedding folder; a path or a URI.")],
    videos: Annotated[
        str | None,
        typer.Option(help="The VIDEOS table, whose publishing dates say which of two copies was first."),
    ] = None,
    output: OutputOptions,
) -> int:
    """Show copied and doctored videos of an embedding folder, and whose look, title and sound disagree."""
    check_paths(embeddings=embeddings, videos=videos)
    from vrec.pipelines.content_report import report_content

    output.show(report_content(embeddings, videos), print_content)
    return EXIT_OK


def print_content(done: Mapping[str, Any]) -> None:
    """Print copies, suspicious videos, and the least agreement between modalities."""
    copies, doubts = done["copies"], done["suspicious"]
    print(f"{done['videos']:,} videos, {len(copies):,} later copies, {len(doubts):,} suspicious")
    for video_id, first in copies.items():
        print(f"  {video_id}: a copy of {first}")
    for video_id, reason in doubts.items():
        print(f"  {video_id}: {reason}")
    if done["agreement"]:
        print("least agreement: 0 is the least, .5 that of unrelated videos")
        cells = [["video", "neighbors by", "compared", "agreement"]]
        for row in done["agreement"]:
            cells.append([row["video_id"], row["by"], row["compared"], f"{row['agreement']:.3f}"])
        print_table(cells)


@command
def robustness_suspects(
    *,
    events: Annotated[
        str,
        typer.Option(
            help="Events (.parquet, .csv, .tsv or .jsonl), or a data set's folder; a path or a URI."
        ),
    ],
    format_: EventsFormatOptions,
    out: Annotated[
        str, typer.Option(help="The table of suspects (.parquet, .csv or .tsv); a path or a URI.")
    ],
    videos: Annotated[
        str | None, typer.Option(help="VIDEOS, for the lengths of films; a path or a URI.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(help="An earlier table, whose releases stay; that of --out by default.")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(help="A table of user_id and device, if the shop knows them; a path or a URI."),
    ] = None,
    run: SettingsOptions,
) -> int:
    """Find shoppers who behave abnormally, alone or in groups, and write them down with reasons."""
    settings = run.settings()
    mapping = parse_column_map(format_.mapped)
    check_paths(events=events, videos=videos, before=before, devices=devices)
    from vrec.pipelines.inputs import InputPaths
    from vrec.pipelines.suspects import write_suspicions

    paths = InputPaths(events, format_.dataset, mapping, videos)
    run.show(write_suspicions(paths, out, settings, before=before, devices=devices), print_suspects)
    return EXIT_OK


@command
def robustness_release(
    *,
    table: Annotated[
        str,
        typer.Argument(metavar="SUSPECTS", help="A table of `vrec robustness suspects`; a path or a URI."),
    ],
    user: Annotated[list[str], typer.Option(help="Id of a shopper to release. May be repeated.")],
    output: OutputOptions,
) -> int:
    """Release suspects by hand: they count in full from now on, whatever later detections find."""
    check_paths(table=table)
    from vrec.pipelines.suspects import release_suspects

    output.show(release_suspects(table, user), print_suspects)
    return EXIT_OK


def print_suspects(done: Mapping[str, Any]) -> None:
    """Print the summary of a table of suspects."""
    print(
        f"{done['out']}: {done['suspects']:,} suspects among {done['shoppers']:,} shoppers, "
        f"{done['released']:,} released by hand"
    )
    for row in done["first"]:
        print(f"  {row['user_id']}: weight {row['weight']:.2f}, score {row['score']:.1f}: {row['reasons']}")
    if done["suspects"] > len(done["first"]):
        print(f"  and {done['suspects'] - len(done['first']):,} more")


def print_attacks(done: Mapping[str, Any]) -> None:
    """Print what attacks changed, and what the defence costs without one."""
    print(f"{done['shoppers']:,} shoppers, {done['videos']:,} videos, {done['interactions']:,} interactions")
    print("hit rate of the target in lists of ten: without the attack, attacked, defended")
    cells = [
        ["attack", "rate", "model", "accounts", "events", "hit rate", "lift removed", "place", "NDCG@10"]
    ]
    for row in done["summary"]:
        removed = "" if row["removed"] is None else f"{row['removed']:.0%}"
        cells.append(
            [
                row["attack"],
                f"{row['rate']:.1%}",
                row["model"],
                f"{row['accounts']:,.0f}",
                f"{row['events']:,.0f}",
                _three(row["hit_rate"], 3),
                removed,
                _three(row["place"], 2),
                _three(row["ndcg"], 4),
            ]
        )
    print_table(cells)
    print("without an attack: what the defence costs honest shoppers and videos")
    cells = [["model", "NDCG@10", "of the heaviest 1 %", "exposure of the long tail"]]
    for row in done["clean"]:
        sides = (row["ndcg"], row["ndcg_heavy"], row["tail_exposure"])
        cells.append([row["model"], *[_three(side, 4) for side in sides]])
    print_table(cells)
    cost = done["cost"]
    print(
        f"left out: {cost['of_all']:.2%} of all interactions, {cost['of_long_tail']:.2%} of those with the "
        f"long tail, {cost['of_heaviest_shoppers']:.2%} of the heaviest 1 % of the shoppers; "
        f"{cost['videos_found']:,} of {cost['videos']:,} videos look promoted"
    )
    for row in done["poisoning"]:
        shares = ", ".join(f"{size}: {share:.3f}" for size, share in row["hit_rate"].items())
        print(f"histories poisoned, {row['model']}: hit rate by number of videos: {shares}")
    if "out" in done:
        print(f"all results: {done['out']}")


def _three(values: list[float], digits: int) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)
