"""The task that runs a call; alone, so that a worker imports for it what the call needs and nothing else."""

from collections.abc import Callable
from typing import Any

import ray


@ray.remote
def run_call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns."""
    return function(*arguments)
