"""`vrec serve` while it starts."""

import time

from vrec.cli import serve as module


def test_a_long_start_is_told_on_stderr_until_it_ends(monkeypatch, capfd):
    monkeypatch.setattr(module, "TELL_EVERY_S", 0.01)
    with module._progress_told("starting"):
        time.sleep(0.2)
    told = capfd.readouterr()
    assert told.out == ""
    first, second, *_ = told.err.splitlines()
    assert (first, second) == ("vrec: starting", "vrec: starting since 0 s")
    time.sleep(0.05)
    assert capfd.readouterr().err == ""
