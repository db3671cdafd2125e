"""Decoded clips."""

import pytest

from tests.contracts.clips import decoded_clips
from vrec.core.types import Clip


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return decoded_clips(tmp_path_factory.mktemp("drawn"), count=4)
