"""Times of the stages of a request."""

import time


class StageTimer:
    """Timer of the stages of a request, in milliseconds."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last call, or since the start, as that of a stage."""
        now = time.perf_counter()
        self.spent_ms[stage], self._last = (now - self._last) * 1e3, now
