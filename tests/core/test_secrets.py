"""Secrets from variables and from files."""

import pytest

from vrec.core.errors import ServeError
from vrec.core.secrets import read_secret


def test_a_secret_comes_from_its_variable_or_from_the_file_that_the_other_one_names(tmp_path):
    file = tmp_path / "key"
    file.write_text("from a file\n")
    assert read_secret("K", {}) == ""
    assert read_secret("K", {"K_FILE": str(file)}) == "from a file"
    assert read_secret("K", {"K": " ", "K_FILE": str(file)}) == "from a file"
    assert read_secret("K", {"K": "direct", "K_FILE": str(file)}) == "direct"


def test_the_environment_is_that_of_the_process_by_default(monkeypatch):
    monkeypatch.setenv("VREC_TEST_SECRET_HERE", "x")
    assert read_secret("VREC_TEST_SECRET_HERE") == "x"


def test_a_file_that_cannot_be_read_is_named_without_its_content(tmp_path):
    with pytest.raises(ServeError, match=r"^K_FILE names .*none: no such file") as error:
        read_secret("K", {"K_FILE": str(tmp_path / "none")})
    assert error.value.fix == "put the secret into that file, or into K"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfesecret")
    with pytest.raises(ServeError, match="it is not text") as error:
        read_secret("K", {"K_FILE": str(binary)})
    assert "secret" not in str(error.value).replace(str(tmp_path), "")
