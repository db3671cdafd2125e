"""A bundle on disk: what comes back of it, and what is refused."""

from vrec.bundle.bundle import Bundle


def test_what_was_written_comes_back(shop_bundle):
    bundle = Bundle.load(shop_bundle.uri)
    bundle.check()
    assert bundle.version == shop_bundle.version
