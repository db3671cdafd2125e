"""Text of `/metrics`: the service's metrics, collected from every Ray node."""

import re
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import ray

from vrec.serving.observability.metrics import NODE_NAMES, TENANT
from vrec.serving.tenants.context import DEFAULT_TENANT, current_tenant

METRIC_PREFIXES = ("ray_vrec_", "ray_serve_", *NODE_NAMES)
"""Prefixes of the metrics in `/metrics`; the many others of Ray are available on its own ports."""
WARM_METRIC = "ray_serve_registered_multiplexed_model_id"
"""Metric of Serve that names the tenants whose bundles are in memory."""
_TENANT_LABEL = re.compile(rf'[{{,]{TENANT}="([^"]*)"')
TIMEOUT_S = 2.0
"""Seconds that a node may take to reply; a slower one is left out."""
MAX_PARALLEL_SCRAPES = 16
"""Maximum number of nodes scraped in parallel."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opener without the environment's proxy, which does not reach addresses inside the cluster."""


def cluster_metrics_text() -> bytes:
    """Return the metrics of the whole cluster in Prometheus's text format; blocks, so call it in a thread."""
    nodes = [(node["NodeManagerAddress"], node["MetricsExportPort"]) for node in ray.nodes() if node["Alive"]]
    return scrape_nodes([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in nodes])


def scrape_nodes(addresses: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Return the metrics of nodes in Prometheus's text format; a comment names nodes that do not reply."""
    with ThreadPoolExecutor(MAX_PARALLEL_SCRAPES, thread_name_prefix="vrec-metrics") as threads:
        replies = dict(zip(addresses, threads.map(lambda at: _scrape(at, timeout_s), addresses), strict=True))
    texts = {at: text for at, text in replies.items() if isinstance(text, str)}
    missing = [f"# {at} was left out: {why}" for at, why in replies.items() if isinstance(why, Exception)]
    lines = merge_expositions(texts.values(), tenant=current_tenant())
    return ("\n".join([*missing, *lines]) + "\n").encode()


def merge_expositions(
    texts: Iterable[str], prefixes: tuple[str, ...] = METRIC_PREFIXES, tenant: str = DEFAULT_TENANT
) -> list[str]:
    """Merge texts into the lines of the metrics with these prefixes, grouped by metric and described once, as
    the format requires.

    A tenant sees its own series. The default one also sees those of the service as a whole, except those by
    the bundle that is in memory.
    """
    described: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        metric = ""
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                _, keyword, metric, *_ = line.split(" ", 3)
                if metric.startswith(prefixes):
                    described.setdefault(metric, {}).setdefault(keyword, line)
            elif line.startswith(prefixes) and _is_visible(line, tenant):
                name = metric if line.startswith(metric) and metric else _name(line)
                samples.setdefault(name, []).append(line)
    return [line for name, lines in samples.items() for line in (*described.get(name, {}).values(), *lines)]


def _is_visible(line: str, tenant: str) -> bool:
    """Return whether a sample is one of a tenant, or of none and the tenant is the default one."""
    found = _TENANT_LABEL.search(line)
    if found is not None:
        return found[1] == tenant
    return tenant == DEFAULT_TENANT and not line.startswith(WARM_METRIC)


def _name(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0]


def _scrape(address: str, timeout_s: float) -> str | Exception:
    try:
        with _DIRECT.open(f"http://{address}/metrics", timeout=timeout_s) as answer:
            return answer.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return error
