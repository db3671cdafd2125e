"""Output folders: refused before any work, and held by one job at a time."""

import pytest

from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder
from vrec.pipelines.output import lock_folder, open_output


def test_a_file_is_not_an_output_folder_and_a_new_folder_is(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        open_output(str(tmp_path / "file"), "sub")
    folder = open_output(str(tmp_path / "new"), "sub")
    folder.write("sub/x", b"1")
    assert (tmp_path / "new" / "sub" / "x").read_bytes() == b"1"


def test_one_job_at_a_time_holds_a_folder(tmp_path):
    folder = StorageFolder(str(tmp_path))
    with (
        lock_folder(folder),
        pytest.raises(OutputError, match="another run is writing there"),
        lock_folder(folder),
    ):
        pass
    with pytest.raises(KeyError), lock_folder(folder):
        raise KeyError
    with lock_folder(folder):
        pass
