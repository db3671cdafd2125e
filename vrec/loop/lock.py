"""One loop on an output folder at a time.

On a local disk that is a lock of the file `.lock`, which ends with the process. Object stores have no locks,
and not all have conditional writes; they are consistent, though: what was written is in the next listing. So
each loop writes a claim of its own and then lists all. Of two loops, the one that writes later sees the
other's claim, so never both find themselves alone. Whoever sees another live claim takes its own back, waits
for a random time and tries again a few times; both may give way, never both go on.

A claim is dead once its object has not been written for `lease_s`, by the store's own clock. Its owner renews
it four times as often, and stops by its own clocks if it could not, also after it was suspended: before it
writes its state, promotes and rolls back it checks that its claim is fresh.
"""

import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow.fs as pafs

from vrec.core.errors import OutputError, VrecError
from vrec.core.tables import StorageFolder
from vrec.loop.errors import LeaseLost, LoopRuns
from vrec.pipelines.output import lock_folder

CLAIMS = ".claims"
"""Subfolder of the claims."""
ATTEMPTS, WAIT_S = 5, 1.0
"""Attempts to be alone, and the mean of the seconds between two of them."""

GRACE_S = 2.0
"""Seconds beyond the lease: the times of objects are in whole seconds."""

CheckLock = Callable[[], None]
"""Function that raises LeaseLost if the loop may no longer write."""


@dataclass(frozen=True, slots=True)
class LoopClaim:
    """Claim of one loop, as the listing shows it."""

    name: str
    at: float
    """Seconds since 1970 at which it was written last, by the clock of the store where it has one."""


@contextlib.contextmanager
def hold_lock(folder: StorageFolder, lease_s: float, wait_s: float = 0.0) -> Iterator[CheckLock]:
    """Hold the lock of a folder inside the `with`, and yield the check to make before writes.

    Args:
        folder: The folder.
        lease_s: Seconds of silence after which another one may take the lock, in object stores.
        wait_s: Seconds to wait for another holder on a local disk.

    Raises:
        LoopRuns: Another loop holds it.
        OutputError: The folder cannot be written.
    """
    if folder.local:
        with contextlib.ExitStack() as stack:
            until = time.monotonic() + wait_s
            while True:
                try:
                    stack.enter_context(lock_folder(folder))
                    break
                except OutputError as error:
                    if time.monotonic() >= until:
                        raise LoopRuns(f"another loop runs: {error}") from None
                time.sleep(0.05)
            yield lambda: None
        return
    lease = ClaimLease(folder, lease_s)
    lease.acquire()
    try:
        with lease.kept_alive():
            yield lease.check
    finally:
        lease.release()


class ClaimLease:
    """Lease on a folder of an object store."""

    def __init__(self, folder: StorageFolder, lease_s: float) -> None:
        self._folder, self._lease_s = folder, lease_s
        self.name = f"{uuid.uuid4().hex}.json"
        self._renewed = self._clocks()
        self._is_lost = False

    def acquire(self, attempts: int = ATTEMPTS, wait_s: float = WAIT_S) -> None:
        """Become the only one with a live claim; raises LoopRuns if another one has one."""
        others: list[LoopClaim] = []
        for attempt in range(attempts):
            if attempt:
                # Not for secrets: two loops that begin together part by it.
                time.sleep(random.uniform(0.5, 1.5) * wait_s)
            self.claim()
            others = self.other_claims()
            if not others:
                return
            self.release()
        raise LoopRuns(f"{self._folder.uri}: another loop runs: {self._owner(others[0])}")

    def claim(self) -> None:
        """Write the claim."""
        # Read before the write: the store's clock may not be ahead of what this process takes for granted.
        before = self._clocks()
        content = {"host": socket.gethostname(), "process": os.getpid(), "at": time.time()}
        self._folder.write_json(f"{CLAIMS}/{self.name}", content)
        self._renewed = before

    def other_claims(self) -> list[LoopClaim]:
        """Return the live claims of others, and remove dead ones; raises LeaseLost if the own one is gone."""
        claims = {claim.name: claim for claim in list_claims(self._folder)}
        own = claims.pop(self.name, None)
        if own is None:
            raise LeaseLost(f"{self._folder.uri}: the claim of this loop was removed")
        live = [claim for claim in claims.values() if own.at - claim.at < self._lease_s + GRACE_S]
        for dead in claims.keys() - {claim.name for claim in live}:
            self._folder.remove(f"{CLAIMS}/{dead}")
        return live

    def renew(self) -> None:
        """Write the claim again unless it may be dead already; raises LeaseLost."""
        self.check()
        if not self._folder.exists(f"{CLAIMS}/{self.name}"):
            self._is_lost = True
        self.check()
        self.claim()

    def check(self) -> None:
        """Raise LeaseLost if others may take this loop for dead."""
        elapsed = max(now - then for now, then in zip(self._clocks(), self._renewed, strict=True))
        if self._is_lost or elapsed >= self._lease_s:
            self._is_lost = True
            raise LeaseLost(
                f"{self._folder.uri}: this loop could not renew its lock for {elapsed:.0f} s, and another "
                "one may have begun"
            )

    def release(self) -> None:
        """Remove the claim."""
        with contextlib.suppress(VrecError, OSError):
            self._folder.remove(f"{CLAIMS}/{self.name}")

    @contextlib.contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Renew the claim in a thread inside the `with`."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(self._lease_s / 4):
                try:
                    self.renew()
                except LeaseLost:
                    return
                except (VrecError, OSError):
                    # The store may answer again before the lease ends.
                    continue

        thread = threading.Thread(target=run, name="vrec-loop-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @staticmethod
    def _clocks() -> tuple[float, float]:
        # The monotonic clock stands still while a machine is suspended, and the other one can be set.
        return time.monotonic(), time.time()

    def _owner(self, claim: LoopClaim) -> str:
        try:
            found = json.loads(self._folder.read(f"{CLAIMS}/{claim.name}"))
            return f"process {found['process']} on {found['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "it has just begun"


def list_claims(folder: StorageFolder) -> list[LoopClaim]:
    """Return all claims below a folder, live and dead."""
    selector = pafs.FileSelector(folder.path_of(CLAIMS), allow_not_found=True)
    files = [info for info in folder.filesystem.get_file_info(selector) if info.type == pafs.FileType.File]
    return [LoopClaim(info.base_name, _written_at(folder, info)) for info in files]


def _written_at(folder: StorageFolder, info: pafs.FileInfo) -> float:
    """Return the time at which a claim was written; by its content where the store does not tell."""
    if info.mtime is not None:
        return info.mtime.timestamp()
    try:
        return float(json.loads(folder.read(f"{CLAIMS}/{info.base_name}"))["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
