"""Clients as actors on Ray, each near its data."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import ray.exceptions

from vrec.pipelines.cluster import loss_reason
from vrec.pipelines.federated.client import ClientRefusal, FederatedClient, ShardSource
from vrec.pipelines.federated.pool import Answers, late_refusal, sort_answer

_log = logging.getLogger(__name__)

PLACE = "client:"
"""Beginning of the custom resource that a node has where a client's data lie on it: `client:NAME`."""


class ActorPool:
    """Clients as actors. One that was killed is started again and reads its shard again."""

    def __init__(self, sources: Mapping[str, ShardSource], cpus: float) -> None:
        """Start the actors.

        Args:
            sources: Place of each client's data.
            cpus: CPUs that Ray reserves per client.
        """
        nodes = ray.cluster_resources()
        self._actors: dict[str, Any] = {}
        self._busy: dict[str, Any] = {}
        for name in sorted(sources):
            place = {PLACE + name: 0.001} if PLACE + name in nodes else None
            actor = ray.remote(FederatedClient).options(
                num_cpus=cpus, resources=place, max_restarts=-1, max_task_retries=0
            )
            self._actors[name] = actor.remote(name, sources[name])

    @property
    def names(self) -> Sequence[str]:
        """Sorted names of all clients."""
        return list(self._actors)

    def hand_out(self, value: Any) -> Any:
        """Return a reference to the value in the object store."""
        return ray.put(value)

    def call(self, step: str, arguments: Mapping[str, Sequence[Any]], deadline_s: float) -> Answers:
        """Call a step of some clients; a late one is not called again before it has ended."""
        answers: dict[str, Any] = {}
        refusals: dict[str, ClientRefusal] = {}
        refs: dict[Any, str] = {}
        for name, values in arguments.items():
            if self._is_busy(name):
                busy = "was still busy with a step whose deadline had passed"
                refusals[name] = ClientRefusal(busy, is_lost=True)
            else:
                refs[self._actors[name].answer.remote(step, *values)] = name
        ready, late = ray.wait([*refs], num_returns=len(refs), timeout=deadline_s) if refs else ([], [])
        for ref in ready:
            sort_answer(refs[ref], _answer(ref), answers, refusals)
        for ref in late:
            self._busy[refs[ref]] = ref
            refusals[refs[ref]] = late_refusal(step, deadline_s)
        return answers, refusals

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors.values():
            ray.kill(actor)

    def _is_busy(self, name: str) -> bool:
        if name in self._busy and ray.wait([self._busy[name]], timeout=0)[0]:
            del self._busy[name]
        return name in self._busy


def _answer(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError):
            # Its text may hold what the client computed with: the class is enough.
            return ClientRefusal(f"failed with {type(error.cause).__name__}")
        return ClientRefusal(loss_reason(error) or type(error).__name__, is_lost=True)
