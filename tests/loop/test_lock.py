"""One loop at a time, also where there are no locks."""

import itertools
import json
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.tables import StorageFolder
from vrec.loop.errors import LeaseLost, LoopRuns
from vrec.loop.lock import CLAIMS, ClaimLease, hold_lock, list_claims

NUMBERS = itertools.count()


def store() -> StorageFolder:
    """An empty folder of an object store."""
    return StorageFolder(f"memory://shop/loop-{next(NUMBERS)}")


HOLDER = """
import sys, time
from vrec.core.tables import StorageFolder
from vrec.loop.lock import hold_lock
with hold_lock(StorageFolder(sys.argv[1]), 60):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_local_folder_ends_with_its_process_however_that_ends(tmp_path):
    (tmp_path / "kept").write_text("x")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LoopRuns, match="another loop runs"), hold_lock(StorageFolder(str(tmp_path)), 60):
            pass
    finally:
        holder.kill()
        holder.wait()
    with hold_lock(StorageFolder(str(tmp_path)), 60) as check:
        check()


@given(st.lists(st.integers(0, 2), min_size=6, max_size=40))
def test_of_loops_in_any_interleaving_never_two_are_alone(turns):
    """Each turn is the next operation of one of three loops: its claim, or the listing after it."""
    folder = store()
    loops = [ClaimLease(folder, 3600) for _ in range(3)]
    has_claim, holds = [False] * 3, [False] * 3
    for number in turns:
        if holds[number]:
            loops[number].release()
            has_claim[number] = holds[number] = False
        elif not has_claim[number]:
            loops[number].claim()
            has_claim[number] = True
        elif loops[number].other_claims():
            loops[number].release()
            has_claim[number] = False
        else:
            holds[number] = True
        assert sum(holds) <= 1
    for lease in loops:
        lease.release()
    assert list_claims(folder) == []


def test_a_second_loop_on_an_object_store_is_told_who_runs(monkeypatch):
    folder = store()
    with hold_lock(folder, 60) as check:
        check()
        monkeypatch.setattr("vrec.loop.lock.WAIT_S", 0)
        with pytest.raises(LoopRuns, match=r"another loop runs: process \d+ on "):
            ClaimLease(folder, 60).acquire(attempts=2, wait_s=0)
    assert list_claims(folder) == []


def test_a_dead_claim_is_taken_over_and_its_owner_stops(monkeypatch):
    monkeypatch.setattr("vrec.loop.lock.GRACE_S", 0)
    folder = store()
    dead = ClaimLease(folder, 0.2)
    dead.acquire()
    time.sleep(0.25)
    ClaimLease(folder, 0.2).acquire(attempts=1)
    for action in (dead.check, dead.renew):
        with pytest.raises(LeaseLost, match="another one may have begun"):
            action()
    assert len(list_claims(folder)) == 1, "it takes nothing back"


def test_a_loop_whose_claim_was_removed_stops_at_its_next_sign_of_life():
    folder = store()
    lease = ClaimLease(folder, 60)
    lease.acquire()
    folder.remove(f"{CLAIMS}/{lease.name}")
    with pytest.raises(LeaseLost):
        lease.renew()
    with pytest.raises(LeaseLost):
        lease.check()


def test_a_claim_is_renewed_while_it_is_held():
    folder = store()
    with hold_lock(folder, 1.0) as check:
        (claim,) = list_claims(folder)
        first = json.loads(folder.read(f"{CLAIMS}/{claim.name}"))["at"]
        time.sleep(1.2)
        check()
        assert json.loads(folder.read(f"{CLAIMS}/{claim.name}"))["at"] > first


def test_on_s3_one_runs_and_the_other_says_so(bucket):
    folder = StorageFolder(bucket.uri("loop"))
    with hold_lock(folder, 60) as check:
        check()
        with pytest.raises(LoopRuns):
            ClaimLease(folder, 60).acquire(attempts=1)
    with hold_lock(folder, 60):
        pass
    assert list_claims(folder) == []
