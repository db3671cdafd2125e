"""`vrec pseudonymise`, `vrec scan-pii` and `vrec anonymise`."""

from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, SettingsOptions, check_paths, command
from vrec.cli.personal_data_output import print_anonymised, print_pii, print_pseudonymised
from vrec.core.errors import PrivacyError

# Constants, since the API reference cannot show joined strings in a signature.
_TABLE_HELP = "EVENTS, LINKS or FOLLOWS. A table (.parquet, .csv, .tsv or .jsonl); a path or a URI."
_TABLES_HELP = "EVENTS, VIDEOS or any others. A table (.parquet, .csv, .tsv or .jsonl); a path or a URI."
_ROWS_HELP = "EVENTS, or another table of shoppers (.parquet, .csv, .tsv or .jsonl); a path or a URI."
_OUT_HELP = "The new table, .parquet, .csv or .tsv; a path or a URI."
_REDACT_HELP = "Write the table without it. The new table, .parquet, .csv or .tsv; a path or a URI."


@command
def pseudonymise(
    *,
    table: Annotated[str, typer.Argument(help=_TABLE_HELP)],
    out: Annotated[str, typer.Option(help=_OUT_HELP)],
    key: Annotated[
        str, typer.Option(help="Variable that holds the key, or whose name with _FILE holds its file's path.")
    ] = "VREC_PRIVACY_KEY",
    old_key: Annotated[
        str | None, typer.Option(help="Variable of the key that the table was written with, to change it.")
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(help="A table with the shop's own ids, to change the key. May be repeated."),
    ] = None,
    link_key: Annotated[
        str | None, typer.Option(help="Variable of the key that seals accounts of other domains in LINKS.")
    ] = None,
    open_links: Annotated[
        bool, typer.Option("--open", help="Open sealed LINKS for `vrec fit --links`.")
    ] = False,
    tenant: Annotated[str, typer.Option(help="Tenant; each has pseudonyms of its own.")] = "default",
    domain: Annotated[str, typer.Option(help="Domain of rows that name none.")] = "shop",
    column: Annotated[
        list[str] | None, typer.Option(help="A further column of user ids. May be repeated.")
    ] = None,
    surfaces: Annotated[
        bool,
        typer.Option("--surfaces", help="`domain` holds surfaces, as in the log of a service, not domains."),
    ] = False,
    settings: SettingsOptions,
) -> int:
    """Write a table with keyed pseudonyms in the place of the ids of shoppers, sessions and events."""
    config = settings.settings()
    for path in (table, *(ids or ())):
        check_paths(**{"ids" if path in (ids or ()) else "table": path})
    from vrec.pipelines.personal_data import PseudonymOptions
    from vrec.pipelines.personal_data import pseudonymise as run

    options = PseudonymOptions(
        key,
        old_key,
        link_key,
        tenant,
        domain,
        tuple(column or ()),
        tuple(ids or ()),
        open_links=open_links,
        surfaces=surfaces,
        fields=config.serve.privacy.fields,
        missing_ids=config.events.read.missing_ids,
    )
    settings.show(run(table, out, options), print_pseudonymised)
    return EXIT_OK


@command
def scan_pii(
    *,
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help=_TABLES_HELP)],
    redact: Annotated[str | None, typer.Option(help=_REDACT_HELP)] = None,
    settings: SettingsOptions,
) -> int:
    """Look for e-mails, phone, resident id and card numbers and IP addresses in every column of tables."""
    config = settings.settings().privacy.scan
    for path in tables:
        check_paths(table=path)
    from vrec.pipelines.personal_data import scan_pii as run

    done = run(tables, config, redact)
    settings.show(done, print_pii)
    if done["found"] and redact is None:
        places = sorted({f"{row['column']} ({row['kind']})" for row in done["found"]})
        named = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if len(places) > 5 else "")
        raise PrivacyError(
            f"{', '.join(sorted({row['table'] for row in done['found']}))}: personal data in {named}",
            fix="leave these columns out, write a table without it by --redact OUT, or use "
            "`vrec pseudonymise` where they are ids",
        )
    return EXIT_OK


@command
def anonymise(
    *,
    table: Annotated[str, typer.Argument(help=_ROWS_HELP)],
    out: Annotated[str, typer.Option(help=_OUT_HELP)],
    settings: SettingsOptions,
) -> int:
    """Write a k-anonymous table of the columns that `privacy.anonymous` names, and print the risk left."""
    config = settings.settings().privacy.anonymous
    check_paths(table=table)
    from vrec.pipelines.personal_data import anonymise as run

    settings.show(run(table, out, config), print_anonymised)
    return EXIT_OK
