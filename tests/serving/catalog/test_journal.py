"""The journal of catalog edits: durable, complete, in order, and no longer than what differs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.serving.catalog.journals import removed, updated
from vrec.core.errors import OutputError, SchemaError
from vrec.serving.catalog import journal as module
from vrec.serving.catalog.clock import FIRST_STAMP
from vrec.serving.catalog.journal import SETTLED_S, CatalogJournal

YEAR_US = 365 * 86_400_000_000


def now_us():
    return time.time_ns() // 1000


def files(folder):
    return sorted(os.listdir(folder / "changes"))


def values(journal, revision=0):
    """Values of all registers by video and name."""
    journal.read(force=True)
    changed = journal.changed_since(revision)[1]
    return {video: {name: one.value for name, one in own.items()} for video, own in changed.items()}


def test_an_edit_is_read_by_other_journals_and_changes_nothing_twice(tmp_path):
    writer, reader = CatalogJournal(str(tmp_path)), CatalogJournal(str(tmp_path))
    before = now_us()
    stamp = writer.append(updated("v", title="t"))
    assert values(reader) == values(writer) == {"v": {"title": "t"}}
    (register,) = reader.changed_since(0)[1]["v"].values()
    assert register.stamp == stamp
    assert before - 20_000 <= register.at <= now_us()
    revision = reader.revision
    assert values(reader, revision) == {}
    assert reader.revision == revision
    writer.append(removed("w"))
    assert values(reader, revision) == {"w": {"present": False}}


def test_an_edit_that_videos_cannot_have_leaves_no_file(tmp_path):
    journal = CatalogJournal(str(tmp_path))
    with pytest.raises(SchemaError):
        journal.append(updated("v", price="dear"))
    assert not (tmp_path / "changes").exists()


@pytest.mark.parametrize("skews", [(0, YEAR_US), (YEAR_US, 0), (-YEAR_US, 3 * YEAR_US), (0, -YEAR_US)])
def test_the_edit_acknowledged_later_counts_whatever_the_clocks_say(tmp_path, skews):
    nodes = [CatalogJournal(str(tmp_path), lambda skew=skew: now_us() + skew) for skew in skews]
    for number in range(8):
        node = nodes[number % 2]
        node.read(force=True)
        node.append(updated("v", title=str(number)))
        assert values(node)["v"]["title"] == str(number)
    assert all(values(node)["v"]["title"] == "7" for node in nodes)
    assert values(CatalogJournal(str(tmp_path)))["v"]["title"] == "7"


@pytest.mark.parametrize("skew", [0, YEAR_US, -YEAR_US])
def test_a_bundle_has_a_cut_of_its_own_time_and_edits_after_its_record_are_later(tmp_path, skew):
    node = CatalogJournal(str(tmp_path), lambda: now_us() + skew)
    first = node.append(updated("v", title="old"))
    time.sleep(0.02)
    made_at = now_us()
    time.sleep(0.02)
    second = node.append(updated("v", price=1.0))
    other = CatalogJournal(str(tmp_path))
    assert other.cut_of("b", made_at, lambda _: True) == first
    # A machine with a fast clock made this one: it does not supersede what came after its record.
    assert node.cut_of("fast", now_us() + YEAR_US, lambda _: True) == second
    assert node.append(updated("v", price=2.0)) > node.cut_of("fast", now_us() + YEAR_US, lambda _: True)
    assert CatalogJournal(str(tmp_path)).cut_of("fast", 0, lambda _: True) == second
    assert CatalogJournal(str(tmp_path)).cut_of("slow", 1, lambda _: True) == FIRST_STAMP


def test_the_journal_is_as_long_as_what_differs_and_not_as_what_was_done(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MIN_MERGED_FILES", 16)
    node = CatalogJournal(str(tmp_path))
    node.cut_of("b", 1, lambda _: False)
    for number in range(100):
        node.append(updated(f"v{number % 3}", title=str(number)))
        node.compact(["b"])
        assert len(files(tmp_path)) <= 17
    assert node.compact(["b"], force=True)
    (one,) = files(tmp_path)
    size = (tmp_path / "changes" / one).stat().st_size
    for number in range(100, 300):
        node.append(updated(f"v{number % 3}", title=str(number)))
    node.compact(["b"], force=True)
    (one,) = files(tmp_path)
    assert abs((tmp_path / "changes" / one).stat().st_size - size) < 32
    want = {f"v{n % 3}": {"title": str(n)} for n in (297, 298, 299)}
    assert values(node) == values(CatalogJournal(str(tmp_path))) == want
    # Two bundles later nothing differs.
    time.sleep(0.02)
    for version in ("c", "d"):
        node.cut_of(version, now_us(), lambda _: True)
    node.compact(["c", "d"], force=True)
    assert values(CatalogJournal(str(tmp_path))) == {}
    assert not node.compact(["c", "d"], force=True)


def test_what_is_no_change_is_named_and_costs_no_other(tmp_path):
    journal = CatalogJournal(str(tmp_path))
    journal.append(updated("v", title="t"))
    (tmp_path / "changes" / "x.msgpack").write_bytes(b"half")
    (tmp_path / "changes" / ".y.msgpack.123").write_bytes(b"half")
    (tmp_path / "changes" / "notes.txt").write_text("x")
    journal.append(updated("w", title="t"))
    fresh = CatalogJournal(str(tmp_path))
    assert values(fresh) == values(journal) == {"v": {"title": "t"}, "w": {"title": "t"}}
    assert list(fresh.damaged) == ["x.msgpack"]
    assert "x.msgpack is not a catalog change" in fresh.damaged["x.msgpack"]
    fresh.compact([], force=True)
    assert {"x.msgpack", "notes.txt"} < set(files(tmp_path))
    assert values(CatalogJournal(str(tmp_path))) == values(fresh)


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="needs an unreadable file")
def test_a_file_that_cannot_be_read_now_is_named_and_read_later(tmp_path):
    journal = CatalogJournal(str(tmp_path))
    journal.append(updated("v", title="t"))
    odd = tmp_path / "changes" / "z.msgpack"
    # A file that is listed and cannot be read, for root too: its descriptor of a process that has ended.
    odd.symlink_to("/proc/self/mem")
    fresh = CatalogJournal(str(tmp_path))
    with pytest.raises(OutputError, match="changes"):
        fresh.read(force=True)
    assert set(fresh.changed_since(0)[1]) == {"v"}
    odd.unlink()
    assert values(fresh) == {"v": {"title": "t"}}


def test_a_folder_that_was_not_touched_for_a_while_is_not_listed_again(tmp_path, monkeypatch):
    journal, listed = CatalogJournal(str(tmp_path)), []
    journal.append(updated("v", title="a"))
    monkeypatch.setattr(module, "SETTLED_S", 0.05)
    sound = journal._list
    monkeypatch.setattr(journal, "_list", lambda: listed.append(1) or sound())
    journal.read()
    time.sleep(0.06)
    journal.read()
    assert listed
    listed.clear()
    journal.read()
    journal.read()
    assert listed == []
    CatalogJournal(str(tmp_path)).append(updated("v", title="b"))
    journal.read()
    assert journal.changed_since(0)[1]["v"]["title"].value == "b"
    assert SETTLED_S >= 2


@pytest.mark.parametrize("behind", [-YEAR_US // 10**6, YEAR_US // 10**6])
def test_changes_are_found_though_the_folder_s_clock_is_another(tmp_path, behind):
    """Both edits fall on one tick of a clock far from this machine's: the second is found nevertheless."""
    writer, reader = CatalogJournal(str(tmp_path)), CatalogJournal(str(tmp_path))
    tick = time.time() + behind
    for title in ("a", "b", "c"):
        writer.append(updated("v", title=title))
        os.utime(tmp_path / "changes", (tick, tick))
        reader.read()
        assert reader.changed_since(0)[1]["v"]["title"].value == title


@pytest.mark.slow
def test_processes_that_write_and_compact_at_once_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MIN_MERGED_FILES", 8)
    CatalogJournal(str(tmp_path)).cut_of("b", 1, lambda _: False)
    failures = []

    def work(number):
        try:
            node = CatalogJournal(str(tmp_path), lambda: now_us() + (number - 2) * YEAR_US)
            for edit in range(25):
                node.read(force=True)
                node.append(updated(f"v{number}", title=str(edit)))
                node.append(updated("shared", **{"title": f"{number}-{edit}"}))
                node.compact(["b"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    nodes = [CatalogJournal(str(tmp_path)) for _ in range(2)]
    nodes[0].compact(["b"], force=True)
    found = [values(node) for node in nodes]
    assert found[0] == found[1]
    assert {name: one["title"] for name, one in found[0].items() if name != "shared"} == {
        f"v{number}": "24" for number in range(4)
    }
    assert len(files(tmp_path)) == 1


KILLED = """
import sys
from vrec.serving.catalog import journal
from vrec.serving.messages import CatalogEdit
journal.MIN_MERGED_FILES = 4
node = journal.CatalogJournal(sys.argv[1])
number = int(sys.argv[2])
while True:
    node.append(CatalogEdit(f"v{number % 5}", "update", {"title": str(number)}))
    print(number, flush=True)
    node.compact(["b"])
    number += 1
"""


@pytest.mark.slow
def test_a_process_killed_at_any_point_of_a_compaction_loses_nothing(tmp_path):
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    CatalogJournal(str(tmp_path)).cut_of("b", 1, lambda _: False)
    want, number = {}, 0
    for pause in (0.0, 0.03):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(number)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root)
        lines = [int(process.stdout.readline()) for _ in range(20)]
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        acknowledged = lines + [int(line) for line in rest]
        number = acknowledged[-1] + 1
        want |= {f"v{n % 5}": n for n in acknowledged}
        found = {video: int(one["title"]) for video, one in values(CatalogJournal(str(tmp_path))).items()}
        # One more may be durable that was not acknowledged any more.
        assert {video: want[video] for video in want if video != f"v{number % 5}"} == {
            video: found[video] for video in want if video != f"v{number % 5}"
        }
        assert found[f"v{number % 5}"] in (want[f"v{number % 5}"], number)
        want[f"v{number % 5}"] = found[f"v{number % 5}"]
        number += 1
