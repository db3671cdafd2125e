"""A real service whose answers can be spoiled."""

import socket
import threading
import time

import pytest
import uvicorn

from tests.serving.http.shop import Shop
from vrec.config.serve import ServeConfig
from vrec.serving.http.app import create_app


class Spoiled:
    """A service on a real port behind a middleware that spoils answers to /v1/.

    `faults` is a function of the number of the request: None lets it pass, `refuse` answers 503, `lose`
    processes the request and breaks the connection, `break` breaks it before, `cut` breaks it within the body
    of the response, a number answers that status.
    """

    def __init__(self, folder):
        config = ServeConfig(data=str(folder / "data"))
        self.shop = Shop(folder, [], config)
        self.metrics = ""
        self.app = create_app(self.shop, config, environment={}, metrics=self.exposition)
        self.faults, self.requests = (lambda number: None), []
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    def exposition(self):
        """The bytes of `/metrics`."""
        return self.metrics.encode()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._spoil, interface="asgi3", host="127.0.0.1", port=self.port, log_level="critical"
            )
        )
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self):
        self._server.should_exit = True
        self._thread.join()

    def close(self):
        self.stop()
        self.shop.close()

    def events(self):
        """The ids of the events in the log, and their number in it."""
        table, _ = self.shop.store.export()
        return table.column("event_id").to_pylist()

    async def _spoil(self, scope, receive, send):
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            return await self.app(scope, receive, send)
        with self._lock:
            number = len(self.requests)
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.requests.append((scope["method"], scope["path"], headers.get("x-request-id")))
        fault = self.faults(number)
        if fault == "break":
            return receive.__self__.transport.abort()
        if fault == "lose":

            async def nowhere(message):
                pass

            await self.app(scope, receive, nowhere)
            return receive.__self__.transport.abort()
        if fault == "cut":
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]}
            )
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return receive.__self__.transport.close()
        if fault is not None:
            while (await receive()).get("more_body"):
                pass
            status = 503 if fault == "refuse" else fault
            await send({"type": "http.response.start", "status": status, "headers": []})
            return await send({"type": "http.response.body", "body": b"no"})
        return await self.app(scope, receive, send)


@pytest.fixture
def service(tmp_path):
    made = Spoiled(tmp_path)
    yield made
    made.close()


@pytest.fixture
def closed_port():
    """A port of this machine on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
