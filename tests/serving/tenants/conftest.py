"""Records of the log for the tests of tenants."""

import logging

import pytest


@pytest.fixture
def logged():
    """Records of the log, as they come."""
    records, handler = [], logging.Handler()
    handler.emit = records.append
    names = ("vrec", "ray.serve")
    for name in names:
        logging.getLogger(name).addHandler(handler)
    yield records
    for name in names:
        logging.getLogger(name).removeHandler(handler)
