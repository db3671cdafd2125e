"""`/metrics`: what Ray exports on every node, of which the service's own figures are kept."""

import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import ray

METRIC_PREFIXES = ("ray_vrec_", "ray_serve_")
"""Prefixes of the figures that are given out: Ray's own, of which there are many more, are on its ports."""
TIMEOUT_S = 2.0
"""Seconds that a node may take; one that takes longer is left out."""
MAX_PARALLEL_SCRAPES = 16
"""Nodes that are asked at the same time."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy for the way out knows nothing of the cluster's own addresses."""


def cluster_metrics_text() -> bytes:
    """Prometheus's text of the whole cluster's figures; call it in a thread."""
    nodes = [(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in ray.nodes() if node["Alive"]]
    return scrape_nodes([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in nodes])


def scrape_nodes(addresses: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Prometheus's text of the figures that nodes export; of one that does not answer, a comment says so."""
    with ThreadPoolExecutor(MAX_PARALLEL_SCRAPES, thread_name_prefix="vrec-metrics") as threads:
        found = dict(zip(addresses, threads.map(lambda at: _scrape(at, timeout_s), addresses), strict=True))
    texts = {at: text for at, text in found.items() if isinstance(text, str)}
    away = [f"# {at} was left out: {why}" for at, why in found.items() if isinstance(why, Exception)]
    return ("\n".join([*away, *merge_expositions(texts.values())]) + "\n").encode()


def merge_expositions(texts: Iterable[str], prefixes: tuple[str, ...] = METRIC_PREFIXES) -> list[str]:
    """Lines of those figures whose names begin so, each figure's together and described once, as the format
    asks for."""
    described: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        figure = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, what, figure, *_ = line.split(" ", 3)
                if figure.startswith(prefixes):
                    described.setdefault(figure, {}).setdefault(what, line)
            elif line.startswith(prefixes):
                name = figure if line.startswith(figure) and figure else _name(line)
                samples.setdefault(name, []).append(line)
    return [line for name, lines in samples.items() for line in (*_describe_once(described, name), *lines)]


def _describe_once(described: Mapping[str, Mapping[str, str]], name: str) -> Iterable[str]:
    return described.get(name, {}).values()


def _name(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0]


def _scrape(address: str, timeout_s: float) -> str | Exception:
    try:
        with _DIRECT.open(f"http://{address}/metrics", timeout=timeout_s) as answer:
            return answer.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return error
