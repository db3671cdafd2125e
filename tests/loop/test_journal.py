"""Steps that are skipped, and runs that are killed anywhere."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.digest import digest
from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder
from vrec.loop.errors import LeaseLost
from vrec.loop.journal import JOURNAL, LoopJournal

NUMBERS = itertools.count()
STEPS = ("export", "gates", "fit", "bundle", "test")


class Killed(BaseException):
    """End of a process."""


class Program:
    """Five steps, each of which writes two files made of the one before; it is killed before a write."""

    def __init__(self):
        self.folder = StorageFolder(f"memory://shop/journal-{next(NUMBERS)}")
        self.left: int | None = None
        self.works = dict.fromkeys(STEPS, 0)
        real = self.folder._write

        def write(name, data):
            if self.left is not None:
                if not self.left:
                    raise Killed
                self.left -= 1
            real(name, data)

        self.folder._write = write

    def run(self, seed: int, kill_at: int | None = None) -> str:
        self.left = kill_at
        journal = LoopJournal(self.folder, now=lambda: 1_700_000_000.0)
        journal.begin()
        before = digest({"seed": seed})
        for name in STEPS:

            def work(name=name, before=before):
                self.works[name] += 1
                for half in "ab":
                    self.folder.write(f"{name}-{half}", f"{before} {half}".encode())
                return {"made": digest({"step": name, "of": before})}

            names = (f"{name}-a", f"{name}-b")
            before = journal.step(name, {"of": before}, work, lambda _, names=names: names)["made"]
        journal.end(None)
        return before

    def content(self) -> dict[str, bytes]:
        return {name: self.folder.read(name) for name in self.folder.files() if name != JOURNAL}

    def state(self):
        """The journal without how long steps took."""
        state = LoopJournal(self.folder).state
        return state.run, state.pending, {n: (s.fingerprint, s.result) for n, s in state.steps.items()}


@settings(max_examples=40)
@given(st.lists(st.integers(0, 17), max_size=8), st.integers(0, 3))
def test_killed_anywhere_and_run_again_is_as_never_interrupted(kills, seed):
    whole, killed = Program(), Program()
    result = whole.run(seed)
    for kill in kills:
        with suppress(Killed):
            killed.run(seed, kill)
    assert killed.run(seed) == result
    assert killed.content() == whole.content()
    assert killed.state() == whole.state()
    # A step is repeated only if it was killed before its record was written.
    assert all(1 <= count <= 1 + len(kills) for count in killed.works.values())


def test_nothing_new_does_nothing_and_what_changed_is_done_from_there():
    program = Program()
    program.run(1)
    program.run(1)
    assert set(program.works.values()) == {1}
    program.folder.remove("fit-a")
    program.run(1)
    assert program.works == dict.fromkeys(STEPS, 1) | {"fit": 2}
    program.run(2)
    assert program.works == dict.fromkeys(STEPS, 2) | {"fit": 3}


def test_a_run_in_progress_goes_on_and_an_old_one_is_given_up():
    folder = StorageFolder(f"memory://shop/journal-{next(NUMBERS)}")
    first = LoopJournal(folder, now=lambda: 1_700_000_000.0).begin()
    assert first == "20231114T221320Z"
    assert LoopJournal(folder, now=lambda: 1_700_040_000.0).begin() == first
    assert LoopJournal(folder, now=lambda: 1_700_090_000.0).begin() == "20231115T231320Z"


def test_two_runs_in_one_second_have_two_names():
    program = Program()
    program.run(1)
    journal = LoopJournal(program.folder, now=lambda: 1_700_000_000.0)
    assert journal.begin() == "20231114T221321Z"


def test_a_loop_that_lost_its_lock_writes_nothing():
    folder = StorageFolder(f"memory://shop/journal-{next(NUMBERS)}")

    def lost():
        raise LeaseLost("lost")

    with pytest.raises(LeaseLost):
        LoopJournal(folder, lost).begin()
    assert not folder.exists(JOURNAL)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": 99}'])
def test_a_file_that_is_no_journal_is_refused_and_stays(content):
    folder = StorageFolder(f"memory://shop/journal-{next(NUMBERS)}")
    folder.write(JOURNAL, content)
    with pytest.raises(OutputError, match="not the journal"):
        LoopJournal(folder)
    assert folder.read(JOURNAL) == content
