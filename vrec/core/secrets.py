"""Secrets from environment variables, or from files that they name."""

import os
from collections.abc import Mapping
from pathlib import Path

from vrec.core.errors import ServeError, os_error_reason

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
