"""`vrec bundle`: what serving loads, from the folders that other commands left."""

import json
from typing import Annotated

import typer

from vrec.console import say_bundled
from vrec.options import (
    DONE,
    AsJson,
    ConfigFile,
    DataSet,
    Debug,
    Embeddings,
    Events,
    Mapped,
    Overrides,
    VideosTable,
    to_mapping,
)


def bundle(
    *,
    events: Events,
    ranker: Annotated[str, typer.Option(help="The ranker's folder; a path or a URI.")],
    out: Annotated[str, typer.Option(help="A new folder for the bundle; a path or a URI.")],
    recommender: Annotated[
        str | None, typer.Option(help="The folder of the recommender that tells videos' neighbours.")
    ] = None,
    videos: VideosTable = None,
    embeddings: Embeddings = None,
    mapped: Mapped = None,
    dataset: DataSet = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Put videos, embeddings, a recommender and a ranker together into the folder that `vrec serve` loads."""
    from vrec.pipelines.bundle import bundle as run
    from vrec.pipelines.material import Where
    from vrec.settings import load_settings

    where = Where(events, dataset, to_mapping(mapped), videos, embeddings)
    settings = load_settings(config, overrides or [])
    done = run(where, out, settings, ranker=ranker, recommender=recommender)
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        say_bundled(done)
    return DONE
