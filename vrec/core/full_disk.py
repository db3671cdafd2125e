"""Errors of the operating system about a disk without room."""

import errno

from vrec.core.errors import OutputError, os_error_reason


def full_disk_error(error: BaseException) -> OutputError | None:
    """Return an OutputError for an error of the operating system about a disk without room; else None."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return OutputError(f"{error.filename or 'a file'}: cannot be written: {os_error_reason(error)}")
