"""Which checks of a battery fail."""

from collections.abc import Callable, Iterable

import pytest

from vrec.core.errors import VrecError


def failed_checks(
    checks: Iterable[Callable],
    *given: object,
    only: str | None = None,
    errors: tuple[type[Exception], ...] = (),
) -> set[str]:
    """Names of the checks, or of the `only` one, that fail on what is given.

    A check fails by an assertion, by an error of vrec, or by one of `errors`, which the object under test may
    raise; any other exception is a fault of the check.
    """
    caught = set()
    for check in checks:
        if only in (None, check.__name__):
            try:
                check(*given)
            except (AssertionError, VrecError, pytest.fail.Exception, *errors):
                caught.add(check.__name__)
    return caught
