"""Settings of the budgets of CPU time, and of what gives way under load."""

from pydantic import Field

from vrec.core.config import BaseConfig


class BudgetsConfig(BaseConfig):
    """Budgets of callers and limits of load, each per HTTP replica.

    Lists give way first: they have popular videos. Then requests other than events are refused, and events
    are never refused for these reasons.
    """

    cpu_ms_per_second: float = Field(default=2_000.0, gt=0)
    """CPU milliseconds of HTTP and ranking that a key may use per second on average; above what
    `security.requests_per_second` ordinary requests take. Without keys, an address may use as much."""
    page_cpu_ms_per_second: float = Field(default=200.0, gt=0)
    """The same for an address from which pages call with a `browser` key, and for one without a key where the
    service has keys: about 40 lists a second."""
    cpu_burst_s: float = Field(default=5.0, gt=0)
    """Seconds of that budget that may be used at once. Beyond, lists have popular videos; beyond twice as
    much, requests get 429."""
    lists_at_once: int = Field(default=64, ge=1)
    """Requests for lists that run at a time, above which those of callers with more than an equal share of
    them, and above twice as many all further ones, get popular videos. At 5 ms each, one ranking replica
    makes as many in a third of a second; raise it with the number of replicas."""
    requests_at_once: int = Field(default=400, ge=1)
    """Requests that run at a time, without events, above which further ones get 503."""
    body_s: float = Field(default=20.0, gt=0)
    """Seconds that a body may take, besides the time that its bytes take at `slowest_bytes_per_second`."""
    slowest_bytes_per_second: int = Field(default=20_000, ge=1)
    """Rate of a slow connection from which uploads are still taken; slower ones get 408."""
    bodies_at_once: int = Field(default=100, ge=1)
    """Bodies of a key or address that may be on their way at a time; further ones get 429."""
