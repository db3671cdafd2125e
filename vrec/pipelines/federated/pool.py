"""Calls of many clients at once, each of which may be lost, late, or refuse."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from vrec.pipelines.federated.client import ClientRefusal, FederatedClient, ShardSource

Answers = tuple[dict[str, Any], dict[str, ClientRefusal]]
"""Answers by client, and the refusals of those that gave none."""
Lost = Callable[[str, str], str | None]
"""Function of a client and a step that returns why the client is not there, or None."""


class ClientPool(Protocol):
    """Clients of a federated fit, wherever they run."""

    @property
    def names(self) -> Sequence[str]:
        """Sorted names of all clients."""
        ...

    def hand_out(self, value: Any) -> Any:
        """Return what stands for a large value in the arguments of many calls."""
        ...

    def call(self, step: str, arguments: Mapping[str, Sequence[Any]], deadline_s: float) -> Answers:
        """Call a step of some clients, each with its arguments, and wait for as long as the deadline."""
        ...


class LocalPool:
    """Clients in this process, called one after another."""

    def __init__(self, sources: Mapping[str, ShardSource], lost: Lost = lambda name, step: None) -> None:
        """Make the clients; `lost` says which are away, for experiments."""
        self._clients = {name: FederatedClient(name, sources[name]) for name in sorted(sources)}
        self._lost = lost

    @property
    def names(self) -> Sequence[str]:
        """Sorted names of all clients."""
        return list(self._clients)

    def hand_out(self, value: Any) -> Any:
        """Return the value."""
        return value

    def call(self, step: str, arguments: Mapping[str, Sequence[Any]], deadline_s: float) -> Answers:
        """Call a step of some clients; those that end after the deadline are late."""
        answers: dict[str, Any] = {}
        refusals: dict[str, ClientRefusal] = {}
        for name, values in arguments.items():
            if (reason := self._lost(name, step)) is not None:
                refusals[name] = ClientRefusal(reason, is_lost=True)
                continue
            begun = time.monotonic()
            answer = self._clients[name].answer(step, *values)
            took = time.monotonic() - begun
            sort_answer(name, late_refusal(step, took) if took > deadline_s else answer, answers, refusals)
        return answers, refusals


def late_refusal(step: str, seconds: float) -> ClientRefusal:
    """Return the answer that stands for that of a late client."""
    return ClientRefusal(f"had not answered `{step}` after {seconds:.0f} s", is_lost=True)


def sort_answer(name: str, answer: Any, answers: dict[str, Any], refusals: dict[str, ClientRefusal]) -> None:
    """Put a client's answer to the answers, or to the refusals if it is one."""
    if isinstance(answer, ClientRefusal):
        refusals[name] = answer
    else:
        answers[name] = answer
