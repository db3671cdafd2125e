"""`vrec train encoder`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vrec.options import (
    DONE,
    SOME_FAILED,
    Address,
    AsJson,
    ConfigFile,
    DataSet,
    Debug,
    Mapped,
    Overrides,
    to_mapping,
    train_app,
)


@train_app.command("encoder")
def train_encoder(
    *,
    out: Annotated[str, typer.Option(help="The folder for the encoder; a path or a URI.")],
    videos: Annotated[
        str | None, typer.Option(help="A folder of videos or a VIDEOS table (.parquet); a path or a URI.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="The folder in which the videos' features are kept, within --out by default; without "
            "--videos those in it are trained on as they are."
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(help="Events (.parquet or .csv), or a data set's folder, to align the encoder with."),
    ] = None,
    mapped: Mapped = None,
    dataset: DataSet = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Train an encoder on a catalogue's videos, and on what shoppers watched. Run it again to resume."""
    from vrec.pipelines.material import Where
    from vrec.pipelines.train_encoder import train_encoder as run
    from vrec.settings import load_settings

    where = None if events is None else Where(events, dataset, to_mapping(mapped))
    done = run(where, videos, features, out, load_settings(config, overrides or []), address=address)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        say_trained_encoder(done)
    return SOME_FAILED if done["failures"] else DONE


def say_trained_encoder(done: Mapping[str, Any]) -> None:
    """Prints what `vrec train encoder` did, and how to use what it left."""
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
            f"{seen['targets']:,} with a vector to learn; {seen['videos']:,} were watched at all"
        )
        if seen["unknown"]:
            print(f"  {seen['unknown']:,} watched videos have no features and were left out")
    after = f", {done['resumed_from']} of them before it was stopped" if done["resumed_from"] else ""
    print(
        f"trained {done['model']} ({done['objective']}) on {', '.join(done['takes'])} in "
        f"{done['train_s']:.1f} s: {done['epochs']} epochs{after}, the best was epoch "
        f"{done['best_epoch']}: {done['out']}"
    )
    if done["stopped"]:
        print(f"  stopped: {done['stopped']}")
    if done["judged"]:
        rank = done["validation"]["mrr"]
        print(f"  videos that were held out find their partner at a mean reciprocal rank of {rank:.3f}")
    else:
        print("  too few videos to hold some out: training's own loss chose the epoch")
    print("to use it, embed with it, and fit and evaluate on what that leaves:")
    print(f"  vrec embed --videos … --out … {done['use']}")
