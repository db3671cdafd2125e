"""Decoded clips, and a cache of the tests' own."""

import pytest

from tests.contracts.clips import decoded_clips
from vrec.core.protocols import Clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return decoded_clips(tmp_path_factory.mktemp("drawn"), count=4)


@pytest.fixture(scope="session", autouse=True)
def kept_networks(tmp_path_factory: pytest.TempPathFactory):
    """A cache of the tests' own: nothing of the user's is read or written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
