"""Secrets from environment variables, or from files that they name."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vrec.core.errors import ServeError, os_error_reason

logger = logging.getLogger("vrec.secrets")

RELOAD_S = 1.0
"""Seconds between two looks at a secret's file."""
FILE_SUFFIX = "_FILE"
"""End of the name of a variable that holds a secret's path, as with the secrets of Docker and Kubernetes."""


def read_secret(variable: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the value of an environment variable, else the content of the file that VARIABLE_FILE names.

    Args:
        variable: Name of the variable.
        environment: The environment variables; None takes those of the process.

    Returns:
        The secret without surrounding space; "" where neither variable is set.

    Raises:
        ServeError: The file cannot be read.
    """
    variables = os.environ if environment is None else environment
    if value := variables.get(variable, "").strip():
        return value
    path = variables.get(variable + FILE_SUFFIX, "")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else "it is not text"
        raise ServeError(
            f"{variable}{FILE_SUFFIX} names {path}: {reason}",
            fix=f"put the secret into that file, or into {variable}",
        ) from None


class WatchedSecret:
    """Secret whose file is read again when it has changed; a variable's own value stays as it is."""

    def __init__(self, variable: str, environment: Mapping[str, str] | None = None) -> None:
        """Read the secret; raises ServeError as `read_secret`."""
        variables = os.environ if environment is None else environment
        self.variable, self.value = variable, read_secret(variable, variables)
        path = "" if variables.get(variable, "").strip() else variables.get(variable + FILE_SUFFIX, "")
        self._path = Path(path) if path else None
        self._environment = {variable + FILE_SUFFIX: path}
        self._state = self._file_state()
        self._looked_at = time.monotonic()

    def reload(self, use: Callable[[str], None], *, at_once: bool = False) -> None:
        """Give the file's new content to `use` if it has changed, at most once in RELOAD_S.

        What cannot be read, is empty, or is refused by `use` with a ServeError changes nothing: the secret of
        before stays in force, and the log says why.

        Args:
            use: Function that takes the new content, or raises ServeError.
            at_once: Whether to look although RELOAD_S has not passed.
        """
        now = time.monotonic()
        if self._path is None or (not at_once and now - self._looked_at < RELOAD_S):
            return
        self._looked_at, state = now, self._file_state()
        if state == self._state:
            return
        self._state = state
        try:
            value = read_secret(self.variable, self._environment)
            if not value:
                raise ServeError(f"{self._path} is empty", fix="put the secret into it")
            use(value)
        except ServeError as error:
            logger.error("a secret stays as it was", extra={"variable": self.variable, "why": str(error)})
            return
        self.value = value
        logger.info("a secret was read again", extra={"variable": self.variable})

    def _file_state(self) -> tuple[int, int, int] | None:
        """Return what changes with the file, also when its link moves to another one; None without a file."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
