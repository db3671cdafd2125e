"""The ledger: sums, races, kills, and damage."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import ConfigError, OutputError, PrivacyError
from vrec.privacy.accounting import MechanismCost, composed_epsilon, gaussian_multiplier
from vrec.privacy.ledger import PrivacyLedger

DELTA = 1e-6
COST = MechanismCost(gaussian_multiplier(1.0, DELTA))


def charge(path, cost=COST, **terms):
    return PrivacyLedger(str(path)).charge("ease", [cost], "f00", delta=DELTA, **terms)


def test_fits_add_up_until_the_budget_is_spent(tmp_path):
    path = tmp_path / "events.privacy.jsonl"
    first, second = charge(path, budget=2.0), charge(path)
    assert first.spent == pytest.approx(1.0, rel=1e-6)
    assert second.spent == pytest.approx(composed_epsilon([COST, COST], DELTA))
    assert second.spent < 2
    while (state := PrivacyLedger(str(path)).read()).spent([COST]) <= 2.0:
        charge(path)
    before = path.read_bytes()
    with pytest.raises(PrivacyError, match="budget is 2"):
        charge(path)
    assert path.read_bytes() == before
    assert state.spent() <= 2.0 < state.spent([COST])
    assert [entry.number for entry in state.entries] == list(range(1, len(state.entries) + 1))


def test_terms_are_fixed_when_a_ledger_is_made(tmp_path):
    path = tmp_path / "a.jsonl"
    charge(path, budget=3.0)
    with pytest.raises(PrivacyError, match="budget is fixed"):
        charge(path, budget=30.0)
    with pytest.raises(PrivacyError, match=r"privacy\.delta"):
        PrivacyLedger(str(path)).charge("ease", [COST], "", delta=1e-5)


RACER = """
import sys
from vrec.privacy.accounting import MechanismCost
from vrec.privacy.ledger import PrivacyLedger
from vrec.core.errors import PrivacyError
ledger = PrivacyLedger(sys.argv[1])
sys.stdin.readline()
done = 0
for _ in range(6):
    try:
        ledger.charge("popular", [MechanismCost(float(sys.argv[2]))], "", delta=1e-6, budget=3.0)
        done += 1
    except PrivacyError:
        pass
print(done)
"""


def test_fits_that_race_do_not_spend_more_than_the_budget(tmp_path):
    path = tmp_path / "a.jsonl"
    arguments = [sys.executable, "-c", RACER, str(path), str(COST.noise_multiplier)]
    racers = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    charged = sum(int(racer.communicate()[0]) for racer in racers)
    state = PrivacyLedger(str(path)).read()
    assert charged == len(state.entries)
    assert state.spent() <= 3.0 < state.spent([COST])


SPENDER = """
import sys
from vrec.privacy.accounting import MechanismCost
from vrec.privacy.ledger import PrivacyLedger
for _ in range(100_000):
    print(PrivacyLedger(sys.argv[1]).charge("als", [MechanismCost(1e4)], "", delta=1e-6).entry, flush=True)
"""


def test_a_killed_fit_has_spent_and_leaves_a_whole_ledger(tmp_path):
    path = tmp_path / "a.jsonl"
    for wait_s in (0.05, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(path)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(wait_s)
        os.kill(process.pid, signal.SIGKILL)
        written = [
            int(line) for line in process.communicate()[0].splitlines(keepends=True) if line[-1] == "\n"
        ]
        entries = PrivacyLedger(str(path)).read().entries
        assert len(entries) >= max(written, default=1) >= 1
    assert charge(path).entry == len(entries) + 1


@settings(max_examples=60)
@given(st.data())
def test_any_damage_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ledger") / "a.jsonl"
    charge(path), charge(path)
    text = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(text) - 1))
    if data.draw(st.booleans()):
        text = text[:place]
    else:
        text[place] ^= 1 << data.draw(st.integers(0, 6))
    # A ledger that was cut between two lines is whole: the manifests of its models say what is missing.
    lines = path.read_bytes().splitlines(keepends=True)
    if bytes(text) in {b"".join(lines[:count]) for count in (1, 2)}:
        return
    path.write_bytes(text)
    with pytest.raises(PrivacyError, match="damaged"):
        PrivacyLedger(str(path)).read()
    with pytest.raises(PrivacyError, match="damaged"):
        charge(path)
    assert path.read_bytes() == text


def test_an_entry_that_was_taken_out_is_noticed(tmp_path):
    path = tmp_path / "a.jsonl"
    for _ in range(3):
        charge(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], *lines[3:]]))
    with pytest.raises(PrivacyError, match="damaged"):
        charge(path)
    low = json.loads(lines[1])
    low["costs"][0]["noise_multiplier"] = 1e9
    path.write_text("".join([lines[0], json.dumps(low, sort_keys=True) + "\n", *lines[2:]]))
    with pytest.raises(PrivacyError, match="damaged"):
        charge(path)


def test_places_that_cannot_hold_a_ledger(tmp_path):
    with pytest.raises(ConfigError, match="local file"):
        PrivacyLedger("s3://bucket/ledger.jsonl")
    with pytest.raises(PrivacyError, match="no ledger"):
        PrivacyLedger(str(tmp_path / "none")).read()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the ledger"):
        charge(tmp_path / "file" / "a.jsonl")
