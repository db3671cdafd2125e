"""Requests from several threads, each over a new connection, while a service is changed."""

import json
import threading
import time
import urllib.error
import urllib.request
import uuid


class ServiceLoad:
    """Requests of shoppers to a service; notes when each began, its outcome, and what the list says."""

    def __init__(self, url, threads=3, headers=None):
        self.url, self.going, self.done, self.acknowledged = url, True, [], []
        self.headers = {"Content-Type": "application/json", "Connection": "close"} | (headers or {})
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join()

    def failed(self, until=float("inf")):
        """Outcomes of requests begun before a time that are no success."""
        return [outcome for begun, outcome, _ in self.done if begun < until and outcome not in (200, 202)]

    @property
    def versions(self):
        """Versions of the bundles behind the lists, in the order of the answers."""
        return [answer["bundle"] for _, _, answer in self.done if answer and "bundle" in answer]

    def _run(self, number):
        turn = 0
        while self.going:
            user, turn = f"s{number}-{turn % 40}", turn + 1
            self._send("/v1/recommend", {"user_id": user, "k": 3}, user)
            event = {"event_id": uuid.uuid4().hex, "user_id": user, "video_id": "any", "kind": "click"}
            if self._send("/v1/events", event, user) == 202:
                self.acknowledged.append(event["event_id"])

    def _send(self, path, body, user):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), self.headers)
        begun, answer = time.time(), None
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                outcome, answer = reply.status, json.load(reply) | {"user": user}
        except urllib.error.HTTPError as error:
            outcome = error.code
        except OSError as error:
            outcome = type(error).__name__
            time.sleep(0.02)
        self.done.append((begun, outcome, answer))
        return outcome
