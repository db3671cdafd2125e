"""`vrec federate`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vrec.cli.options import EXIT_OK, EventsFormatOptions, RunOptions, check_paths, command, parse_column_map


@command
def federate(
    *,
    client: Annotated[
        list[str],
        typer.Option(
            help="A client and its events: NAME=PATH; only that client reads them. Give it once per client."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Which model: als, ease, popular, item_knn (with ε) or ranker.")
    ] = "als",
    start: Annotated[
        str | None,
        typer.Option(help="The folder of a ranker to start from, for the model ranker; a path or a URI."),
    ] = None,
    videos: Annotated[
        str | None,
        typer.Option(help="The catalog (VIDEOS) that all clients share, for recommenders; a path or a URI."),
    ] = None,
    consent: Annotated[
        list[str] | None,
        typer.Option(
            help="Answers of a client's shoppers (CONSENTS): NAME=PATH, or PATH for all clients. Each leaves "
            "out events of those without `train`."
        ),
    ] = None,
    links: Annotated[
        list[str] | None,
        typer.Option(
            help="Accounts of a client's shoppers in other domains (LINKS): NAME=PATH, or PATH for all."
        ),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option(
            "--privacy.epsilon", help="Differential privacy of each shopper: ε of this fit, such as 4."
        ),
    ] = None,
    layout: EventsFormatOptions,
    out: Annotated[str, typer.Option(help="The folder for the model; a path or a URI.")],
    run: RunOptions,
) -> int:
    """Fit a model on the events of several clients, which stay where they are. Run it again to resume."""
    settings = run.settings([] if epsilon is None else [f"privacy.epsilon={epsilon}"])
    mapping = parse_column_map(layout.mapped)
    check_paths(videos=videos, start=start)
    from vrec.pipelines.federated.run import federate as fit
    from vrec.pipelines.federated.tables import named_clients
    from vrec.pipelines.inputs import InputPaths

    inputs = InputPaths("", layout.dataset, mapping, videos)
    clients = named_clients(client)
    done = fit(
        clients,
        inputs,
        out,
        settings,
        model=model,
        start=start,
        consent=consent or (),
        links=links or (),
        address=run.address,
    )
    run.show(done, _print_federated)
    return EXIT_OK


def _print_federated(done: Mapping[str, Any]) -> None:
    """Print what `vrec federate` did."""
    sums = "masked sums" if done["secure"] else "sums that were not masked"
    print(
        f"fitted {done['model']} with {len(done['took_part'])} of {done['clients']} clients in "
        f"{done['rounds']} rounds of {sums}, {done['fit_s']:.1f} s: {done['out']}"
    )
    if done["resumed_from"]:
        print(f"  continued after round {done['resumed_from']}")
    for name, out in done["left_out"].items():
        print(f"  {name} was left out of {out['rounds']} rounds: {out['reason']}")
