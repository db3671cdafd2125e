"""Calls that run one after the other in this process, or as tasks on Ray (`vrec.pipelines.ray_tasks`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Payload = Any
"""A value in this process, or a reference to one in Ray's object store."""

BASE_BYTES = 300_000_000
"""Memory of a worker that has imported vrec and holds no rows."""
EVENT_BYTES = 600
"""Memory of an event while it is read, sorted or weighed."""


def event_memory(rows: int) -> int:
    """Return an estimate of the memory, in bytes, that a task on so many events needs."""
    return BASE_BYTES + rows * EVENT_BYTES


@dataclass(frozen=True, slots=True)
class TaskCall:
    """Call of a function that returns a small summary, and `payloads` large values behind it in a tuple."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    """Payloads of other calls may be among them."""
    memory: int
    """Bytes that the call needs, by estimate."""
    payloads: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


class TaskRunner(Protocol):
    """Runner of calls, here or elsewhere."""

    on_ray: bool
    """Whether calls run as tasks on Ray."""

    def fetch(self, payload: Payload) -> Any:
        """Return the value of a payload in this process."""
        ...

    def share(self, value: Any) -> Payload:
        """Return a value that several calls have among their arguments, to be stored once."""
        ...

    def run(self, calls: Sequence[TaskCall]) -> list[tuple[Any, list[Payload]]]:
        """Run calls and return the summary and the payloads of each, in their order.

        Raises what a call raises.
        """
        ...


class LocalTasks:
    """Runner in this process; a payload is the value itself."""

    on_ray = False

    def fetch(self, payload: Payload) -> Any:
        """Return the payload; see `TaskRunner`."""
        return payload

    def share(self, value: Any) -> Payload:
        """Return the value; see `TaskRunner`."""
        return value

    def run(self, calls: Sequence[TaskCall]) -> list[tuple[Any, list[Payload]]]:
        """Run the calls one after the other; see `TaskRunner`."""
        done: list[tuple[Any, list[Payload]]] = []
        for call in calls:
            result = call.function(*call.arguments)
            done.append((result[0], [*result[1:]]) if call.payloads else (result, []))
        return done
