"""Tables of the clients of a federated fit, by the clients' names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vrec.core.errors import ConfigError
from vrec.core.uris import absolute_uri, uri_name
from vrec.pipelines.inputs import InputPaths


def named_clients(given: Sequence[str]) -> dict[str, str]:
    """Return the clients' paths of events by name, from NAME=PATH, or from PATH, whose name is the file's.

    Raises:
        ConfigError: A name is empty or occurs twice.
    """
    clients: dict[str, str] = {}
    for text in given:
        name, path = _split(text)
        if name is None:
            name = uri_name(text).partition(".")[0]
        if not name or not path:
            raise ConfigError(f"--client {text}: want NAME=PATH", fix="give a name and a path of events")
        if name in clients:
            raise ConfigError(
                f"--client: two clients have the name {name}", fix="give each a name of its own: NAME=PATH"
            )
        clients[name] = path
    return clients


def client_tables(
    clients: Mapping[str, str],
    shared: InputPaths,
    *,
    consent: Sequence[str] = (),
    links: Sequence[str] = (),
) -> dict[str, InputPaths]:
    """Return the tables of each client, with absolute paths.

    Args:
        clients: Paths of the clients' events, by name.
        shared: Tables that all clients share, and the layout of events.
        consent: CONSENTS of clients, as NAME=PATH, or as PATH for all clients without one of their own.
        links: LINKS of clients, likewise; a client may have none.

    Raises:
        ConfigError: A table is of no client, a client has two, or one has no CONSENTS where others do.
        SourceError: A path is relative in a submitted Ray job.
    """
    consents = _by_client("consent", consent, clients)
    if without := sorted(set(clients) - set(consents)) if consent else []:
        raise ConfigError(
            f"--consent: the client {without[0]} has none, so that it would leave nobody out",
            fix=f"give --consent {without[0]}=PATH, or --consent PATH for all others",
        )
    linked = _by_client("links", links, clients)
    videos = None if shared.videos is None else absolute_uri(shared.videos)
    return {
        name: replace(
            shared,
            events=absolute_uri(path),
            videos=videos,
            consent=consents.get(name),
            links=linked.get(name),
        )
        for name, path in clients.items()
    }


def _by_client(option: str, given: Sequence[str], clients: Collection[str]) -> dict[str, str]:
    """Return the absolute paths of an option's tables by client."""
    named: dict[str | None, str] = {}
    for text in given:
        name, path = _split(text)
        if not path or (name is not None and name not in clients):
            raise ConfigError(
                f"--{option} {text}: there is no client {name}" if path else f"--{option} {text}: no path",
                fix=f"give NAME=PATH with the name of a --client: {', '.join(sorted(clients))}",
            )
        if name in named:
            whose = "for all clients" if name is None else f"of {name}"
            raise ConfigError(f"--{option}: two tables {whose}", fix="give each client one")
        named[name] = absolute_uri(path)
    found = {name: named.get(name, named.get(None)) for name in clients}
    return {name: path for name, path in found.items() if path is not None}


def _split(text: str) -> tuple[str | None, str]:
    """Return the name and the path of NAME=PATH; a PATH, which may have an = below a folder, has no name."""
    name, equals, path = text.partition("=")
    return (None, text) if not equals or "/" in name else (name, path)
