import io
import time

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
