"""Messages about bundles."""

import pytest

from vrec.bundle.catalog import name_once


@pytest.mark.parametrize(
    ("name", "message", "said"),
    [
        ("/b", "/b: no manifest.json there", "/b: no manifest.json there"),
        ("/b/", "/b: no manifest.json there", "/b: no manifest.json there"),
        ("/b", "/b is damaged", "/b is damaged"),
        ("/b", "/b/manifest.json is missing", "/b/manifest.json is missing"),
        ("/b", "/bc is damaged", "/b: /bc is damaged"),
        ("bundle", "bundles differ", "bundle: bundles differ"),
    ],
)
def test_a_message_begins_with_its_name_once(name, message, said):
    assert name_once(name, message) == said
