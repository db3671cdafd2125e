"""`vrec …`: arguments in, one call, an exit code out. The scripts in jobs/ call the same functions."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import vrec.compress_command
import vrec.encoder_command
import vrec.tune_command  # noqa: F401
from vrec.bundle_command import bundle
from vrec.console import list_failures, say_embedded, say_fitted, say_recommendations, say_trained
from vrec.core.errors import VrecError, mend_of
from vrec.core.tables import read_failures
from vrec.options import (
    COULD_NOT_RUN,
    DONE,
    SOME_FAILED,
    WRONG_USAGE,
    Address,
    AsJson,
    ConfigFile,
    DataSet,
    Debug,
    Embeddings,
    Events,
    Mapped,
    Out,
    Overrides,
    Videos,
    VideosTable,
    app,
    to_mapping,
    train_app,
)
from vrec.serve_command import serve


@app.callback()
def _vrec() -> None:
    """A video recommender for shops, on Ray."""


@app.command()
def embed(
    *,
    videos: Videos,
    out: Out,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Embed a catalogue: decode its videos and write an embedding table. Run it again to resume."""
    from vrec.pipelines.embed import embed as run
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    manifest = run(videos, out, settings.embed, address=address)
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False))
    else:
        say_embedded(manifest, out)
    if not manifest["counts"]["failed"]:
        return DONE
    list_failures(read_failures(out), out, Console(stderr=True), most=20)
    return SOME_FAILED


@app.command()
def failures(
    out: Annotated[str, typer.Argument(help="An embedding folder.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show which videos failed, why, and how to mend it."""
    rows = read_failures(out)
    if as_json:
        for row in rows.to_pylist():
            mend = mend_of(row["error"])
            print(json.dumps({**row, "at": row["at"].isoformat(), "mend": mend}, ensure_ascii=False))
    elif rows.num_rows:
        list_failures(rows, out, Console(), most=None)
    else:
        print(f"{out}: no video failed")
    return DONE


@app.command()
def fit(
    *,
    events: Events,
    model: Annotated[str, typer.Option(help="Which recommender: item_knn, ease, hybrid, ….")],
    out: Annotated[str, typer.Option(help="The folder for the model; a path or a URI.")],
    videos: VideosTable = None,
    embeddings: Embeddings = None,
    mapped: Mapped = None,
    dataset: DataSet = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Fit a recommender on events and write it to a folder."""
    from vrec.pipelines.fit import fit as run
    from vrec.pipelines.material import Where
    from vrec.settings import load_settings

    where = Where(events, dataset, to_mapping(mapped), videos, embeddings)
    done = run(where, out, load_settings(config, overrides or []), model=model, address=address)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        say_fitted(done)
    return DONE


@app.command()
def recommend(
    *,
    model: Annotated[str, typer.Option(help="A model's folder; a path or a URI.")],
    k: Annotated[int, typer.Option(help="Most videos for each user.")] = 10,
    user: Annotated[list[str] | None, typer.Option(help="A user's id. May be repeated.")] = None,
    users: Annotated[
        str | None, typer.Option(help="A file of user_ids: .parquet, .csv, or one a line. All by default.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="A folder for Parquet files; JSON lines are printed when none is given."),
    ] = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Recommend videos to some users, or to all that a model was fitted with."""
    from vrec.pipelines.fit import recommend_all, recommend_some
    from vrec.pipelines.material import read_users
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    asked = list(user or []) + (read_users(users) if users else [])
    if out is None:
        say_recommendations(recommend_some(model, asked or None, k))
        return DONE
    done = recommend_all(model, out, settings, k=k, users=asked or None, address=address)
    if as_json:
        print(json.dumps(done))
    else:
        print(f"{done['rows']:,} rows for {done['users']:,} users in {done['seconds']:.1f} s: {out}")
    return DONE


@app.command()
def evaluate(
    *,
    events: Events,
    out: Annotated[str, typer.Option(help="A local folder for report.html and metrics.json.")] = "evaluation",
    models: Annotated[
        str | None, typer.Option(help="Recommenders to compare, by commas; `popular` always is.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="time (the default), last or random: see evaluate.split.")
    ] = None,
    like_paper: Annotated[
        bool, typer.Option("--like-paper", help="Also rank among sampled negatives, as many papers do.")
    ] = False,
    videos: VideosTable = None,
    embeddings: Embeddings = None,
    mapped: Mapped = None,
    dataset: DataSet = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Compare recommenders on events that they have not seen, and write report.html."""
    from vrec.pipelines.evaluate import evaluate as run
    from vrec.pipelines.material import Where
    from vrec.settings import load_settings

    chosen = [*(overrides or []), *([f"evaluate.split.kind={split}"] if split else [])]
    if models:
        chosen.append(f"evaluate.models=[{models}]")
    where = Where(events, dataset, to_mapping(mapped), videos, embeddings)
    done = run(where, out, load_settings(config, chosen), like_paper=like_paper, address=address)
    print(json.dumps(done, ensure_ascii=False) if as_json else f"open {done['report']}")
    return DONE


@train_app.command("ranker")
def train_ranker(
    *,
    events: Events,
    out: Annotated[str, typer.Option(help="The folder for the ranker; a path or a URI.")],
    videos: VideosTable = None,
    embeddings: Embeddings = None,
    mapped: Mapped = None,
    dataset: DataSet = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Train a ranker on logged impressions: clicks, watch time and conversions. Run it again to resume."""
    from vrec.pipelines.material import Where
    from vrec.pipelines.train import train_ranker as run
    from vrec.settings import load_settings

    where = Where(events, dataset, to_mapping(mapped), videos, embeddings)
    done = run(where, out, load_settings(config, overrides or []), address=address)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        say_trained(done)
    return DONE


app.command()(bundle)
app.command()(serve)


@app.command()
def demo(
    *,
    videos: Annotated[
        str | None, typer.Option(help="Your own videos; drawn ones where none are given.")
    ] = None,
    out: Out = "demo-out",
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Embed a drawn catalogue (or yours), simulate shoppers in it, and show what vrec suggests to them.

    What it leaves can be served: the command is printed at the end.
    """
    from vrec.pipelines.demo import TABLES
    from vrec.pipelines.demo import demo as run
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    manifest, report, shop = run(out, settings, videos=videos, address=address)
    if as_json:
        more = {"report": report, "shop": asdict(shop) if shop else None}
        print(json.dumps(manifest | more, ensure_ascii=False))
    else:
        say_embedded(manifest, str(Path(out) / TABLES))
        print(f"open {report}")
        if shop:
            print(f"{shop.events:,} events of simulated shoppers: open {shop.report}")
            print(f"  vrec recommend --model {shop.model} --k 5 asks the model that was fitted on them")
            print("to see it served, with the page at http://127.0.0.1:8000:")
            print(f"  vrec serve --bundle {shop.bundle} --data {Path(out) / 'serve'} --events {shop.log}")
    return DONE


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command: 0 done, 1 could not run, 2 wrong usage, 3 done with failed rows."""
    debug = "--debug" in arguments or bool(os.environ.get("VREC_DEBUG"))
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="vrec", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except VrecError as error:
        if debug:
            traceback.print_exc()
        print(f"vrec: {error}. To mend it: {error.mend}", file=sys.stderr)
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        print("vrec: stopped; the same command goes on from here", file=sys.stderr)
        return COULD_NOT_RUN
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            error.show()  # type: ignore[attr-defined]
            return WRONG_USAGE
        if debug:
            traceback.print_exc()
        what = " ".join(str(error).split())[:300]
        print(f"vrec: {type(error).__name__}: {what}. To see more: add --debug", file=sys.stderr)
        return COULD_NOT_RUN


def main() -> None:
    """Entry point of the `vrec` command."""
    sys.exit(run(sys.argv[1:]))
