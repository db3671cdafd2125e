"""The service's own HTTP application on a real port, over a store, and a folder of bundles to move to."""

import time

from tests.clients.conftest import Spoiled
from vrec.bundle.summary import list_bundles, read_summary
from vrec.serving.bundle_moves import BundleMove, UnreadableBundle
from vrec.serving.deployments.service_state import ServiceState


class MovingBundles:
    """Moves that end at once, since no deployments have to load anything."""

    def __init__(self, shop, folder):
        self.shop, self.folder = shop, folder
        self.moves: list[str] = []
        self.last: BundleMove | None = None
        self.refuses: str | None = None

    async def summaries(self):
        return list_bundles(str(self.folder))

    async def problem(self):
        return None

    async def last_move(self):
        return self.last

    async def move(self, name):
        found = read_summary(str(self.folder), name)
        if found.version is None:
            raise UnreadableBundle(f"{name}: {found.problem}")
        self.moves.append(name)
        why = self.refuses
        self.last = BundleMove(name, "failed" if why else "done", 1, 2, why)
        if why is None:
            self.place(name)
        return self.last

    def place(self, name):
        found = read_summary(str(self.folder), name)
        self.shop.state = ServiceState(
            found.uri, found.version, found.made_at, time.time_ns() // 1000, found.videos, found.encoder, {}
        )


class LoopService(Spoiled):
    """A service with bundles; `metrics` is the text of its `/metrics`."""

    def __init__(self, folder, bundles):
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        self.bundles = self.shop.bundles = MovingBundles(self.shop, bundles)

    def add(self, events):
        """Put EVENTS into the log."""
        for start in range(0, events.num_rows, 20_000):
            self.shop.store.apply(events.slice(start, 20_000))

    def count(self, total, errors):
        """Let the metrics say that there were so many responses, and errors among them."""
        name = "ray_vrec_http_seconds_count"
        counts = {200: total - errors, 503: errors}
        lines = [f'{name}{{route="/v1/recommend",status="{status}"}} {n}.0' for status, n in counts.items()]
        self.metrics = "\n".join(["# TYPE ray_vrec_http_seconds histogram", *lines, ""])
