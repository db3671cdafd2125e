"""Calls as tasks on Ray, each of which asks for the memory that it needs."""

import logging
from collections.abc import Sequence
from typing import Any

import ray
import ray.exceptions

from vrec.core.errors import VrecError
from vrec.pipelines.cluster import loss_reason
from vrec.pipelines.ray_call import run_call
from vrec.pipelines.task_runner import Payload, TaskCall

_log = logging.getLogger(__name__)


class RayTasks:
    """Runner on the cluster that this process is connected to; a payload is a reference.

    Each task asks for its memory, so that Ray does not put more on a node than it holds. A task that was
    killed since its node ran out of memory is repeated and asks for twice as much, up to all of the largest
    node.
    """

    def __init__(self) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._most = int(max(node.get("memory", 0) for node in nodes))

    on_ray = True

    def fetch(self, payload: Payload) -> Any:
        """Return the value of a reference; see `TaskRunner`."""
        return ray.get(payload)

    def share(self, value: Any) -> Payload:
        """Put a value into the object store; see `TaskRunner`."""
        return ray.put(value)

    def run(self, calls: Sequence[TaskCall]) -> list[tuple[Any, list[Payload]]]:
        """Run the calls side by side; see `TaskRunner`."""
        memory = [min(call.memory, self._most) for call in calls]
        started = [self._start(call, share) for call, share in zip(calls, memory, strict=True)]
        return [
            self._finish(call, refs, share) for call, refs, share in zip(calls, started, memory, strict=True)
        ]

    @staticmethod
    def _start(call: TaskCall, memory: int) -> list[Payload]:
        task: Any = run_call.options(
            name=getattr(call.function, "__name__", "task"),
            num_cpus=call.cpus,
            num_gpus=call.gpus,
            memory=memory,
            num_returns=1 + call.payloads,
        )
        refs = task.remote(call.function, *call.arguments)
        return [*refs] if call.payloads else [refs]

    def _finish(self, call: TaskCall, refs: list[Payload], memory: int) -> tuple[Any, list[Payload]]:
        while True:
            try:
                return ray.get(refs[0]), refs[1:]
            except ray.exceptions.RayError as error:
                if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, VrecError):
                    raise error.cause from None
                if not (loss_reason(error) or "").startswith("OutOfMemory") or memory >= self._most:
                    raise
                memory = min(2 * memory, self._most)
                name = getattr(call.function, "__name__", "a task")
                _log.info("%s ran out of memory; it is repeated with %s MB", name, f"{memory / 1e6:,.0f}")
                refs = self._start(call, memory)
