"""The bundle that engines of these tests answer from."""

import pytest

from vrec.bundle.bundle import ServingBundle


@pytest.fixture(scope="session")
def bundle(shop_bundle) -> ServingBundle:
    """The bundle of the small shop in memory. Not to be changed."""
    return ServingBundle.load(shop_bundle.uri)
