"""Futures of the results of calls that go to the store together."""

from concurrent.futures import Future

from vrec.core.types import ApplyResult


def only_result(calls: Future[list[ApplyResult]]) -> Future[ApplyResult]:
    """Return the future of the single call of a batch; it raises what the batch raises."""
    single: Future[ApplyResult] = Future()
    # It cannot be canceled: the events of a caller that goes away are stored.
    single.set_running_or_notify_cancel()

    def settle(done: Future[list[ApplyResult]]) -> None:
        if (error := done.exception()) is not None:
            single.set_exception(error)
        else:
            single.set_result(done.result()[0])

    calls.add_done_callback(settle)
    return single
