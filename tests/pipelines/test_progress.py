import io
import time

import pytest

from vrec.pipelines.progress import JobProgress


def test_a_log_gets_plain_lines_and_no_rate_before_there_is_one():
    log = io.StringIO()
    with JobProgress("embed", 10, log) as progress:
        progress.advance(4, 1)
        assert log.getvalue() == "embed: 10 videos\n", "nothing to say yet"
        time.sleep(0.01)
        progress.advance(6, 0)
    last = log.getvalue().splitlines()[-1]
    assert last.startswith("embed: 10 of 10 (")
    assert "videos/s" in last
    assert "1 failed" in last
    assert "left" not in last
    assert "\x1b" not in log.getvalue()


def test_one_batch_is_no_rate():
    log = io.StringIO()
    with JobProgress("embed", 2, log) as progress:
        progress.advance(2, 0)
    assert log.getvalue().splitlines()[-1] == "embed: 2 of 2"


def test_a_terminal_gets_a_bar_with_rate_and_what_failed():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    with JobProgress("embed", 10, screen) as progress:
        progress.advance(2, 0)
        time.sleep(0.3)
        progress.advance(3, 2)
        time.sleep(0.3)
    assert "5/10" in screen.getvalue()
    assert "videos/s" in screen.getvalue()
    assert "2 failed" in screen.getvalue()


class Clock:
    now = 0.0


def logged(monkeypatch, steps, total=100) -> list[str]:
    """The lines for (seconds since the start, videos, failed) of batches."""
    clock, log = Clock(), io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    with JobProgress("embed", total, log) as progress:
        for now, videos, failed in steps:
            clock.now = now
            progress.advance(videos, failed)
    return log.getvalue().splitlines()[1:]


def test_a_line_every_ten_seconds_has_the_rate_since_the_first_batch_and_the_time_left(monkeypatch):
    lines = logged(monkeypatch, [(5, 10, 0), (9, 10, 0), (10, 10, 2), (15, 10, 0), (21, 10, 0)])
    # 20 videos in the 5 s since the first batch: 4 a second, 70 are left.
    assert lines[0] == "embed: 30 of 100 (4.0 videos/s, 18 s left, 2 failed)"
    # 40 videos in 16 s: 2.5 a second, 50 are left.
    assert lines[1] == "embed: 50 of 100 (2.5 videos/s, 20 s left, 2 failed)"
    assert lines[2:] == lines[1:2]


def test_large_numbers_have_separators_and_a_job_that_fails_no_last_line(monkeypatch):
    assert logged(monkeypatch, [(0, 1_000, 0), (1, 1_000, 1_500)], 20_000) == [
        "embed: 2,000 of 20,000 (1000.0 videos/s, 18 s left, 1,500 failed)"
    ]
    log = io.StringIO()

    def fail():
        with JobProgress("embed", 2, log) as progress:
            progress.advance(1, 0)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert log.getvalue() == "embed: 2 videos\n"
    with JobProgress("embed", 2, log):
        pass
    assert log.getvalue() == "embed: 2 videos\n" * 2
