"""Output folders of jobs: checked before the work begins, and locked while a job writes."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder


def open_output(out: str, subfolder: str) -> StorageFolder:
    """Return the folder `out` after checking that its `subfolder` can be written; raises OutputError."""
    folder = StorageFolder(out)
    if folder.is_file:
        raise OutputError(f"{out}: is a file, not a folder")
    folder.check_writable(subfolder)
    return folder


@contextlib.contextmanager
def lock_folder(folder: StorageFolder) -> Iterator[None]:
    """Hold an exclusive lock on the folder inside the `with`; raises OutputError where another job holds it.

    The folder is made where there is none, and removed after an error that left nothing in it. The lock ends
    with the process, however that ends. Only local disks are locked.
    """
    if not folder.local:
        yield
        return
    import fcntl

    Path(folder.path).mkdir(parents=True, exist_ok=True)
    with open(folder.path_of(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"{folder.uri}: another run is writing there",
                fix="wait for it to end, or give another --out",
            ) from None
        try:
            yield
        except BaseException:
            _remove_if_empty(Path(folder.path))
            raise


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but its lock and empty folders."""
    if any(path.is_file() and path != folder / ".lock" for path in folder.rglob("*")):
        return
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
