"""Record of the running service in its data folder, by which another `vrec serve` finds it."""

import json
import os
import socket
from dataclasses import asdict, dataclass
from typing import Self

from vrec.config.serve import ServeConfig
from vrec.core.errors import OutputError, ServeError
from vrec.core.tables import StorageFolder

RECORD = "service.json"
"""File in the data folder while a service runs on it."""
AUTH_MODE = "RAY_AUTH_MODE"
"""Variable that says whether Ray uses a token. Ray does not look for one where an address is named."""
CONNECT_TIMEOUT_S = 2.0
"""Seconds to wait for a connection to the recorded Ray."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """Address of a running service, and of the Ray that runs it."""

    ray_address: str
    host: str
    port: int
    machine: str
    """Host name of the machine of the process that started the service."""
    process: int | None
    """Id of the process with which its Ray ends; None for a Ray that was there before."""
    asks_for_token: bool
    """Whether that Ray asks for its token, as one that `vrec serve` starts does."""

    @classmethod
    def of(cls, config: ServeConfig, ray_address: str, *, owns_ray: bool) -> Self:
        """Return the record of a service that this process starts.

        Args:
            config: The settings of the service.
            ray_address: Address of the Ray that runs it.
            owns_ray: Whether that Ray ends with this process.
        """
        process = os.getpid() if owns_ray else None
        # Ray sets the variable when it starts a local cluster.
        token = os.environ.get(AUTH_MODE, "").lower() == "token"
        return cls(ray_address, config.host, config.port, socket.gethostname(), process, token)

    def prepare_connection(self) -> None:
        """Let this process send Ray's token if that Ray asks for it; to be called before Ray is imported."""
        if self.asks_for_token:
            os.environ.setdefault(AUTH_MODE, "token")

    def is_stale(self) -> bool:
        """Return whether the service has ended: its process is gone, or its Ray does not answer.

        Raises:
            ServeError: The service was started on another machine, from where it cannot be reached.
        """
        if self.process is not None:
            if self.machine != socket.gethostname():
                raise ServeError(
                    f"{RECORD} in the data folder says that {self.machine} serves it on port {self.port}",
                    fix=f"run the command on {self.machine}, or remove {RECORD} if that service has ended",
                )
            if not _is_alive(self.process):
                return True
        host, _, port = self.ray_address.rpartition(":")
        return not _accepts_connections(host, int(port))


def read_record(data: str) -> ServiceRecord | None:
    """Return the record in a data folder; None if there is none, or it is not readable as one."""
    try:
        found = json.loads(StorageFolder(data).read(RECORD))
        record = ServiceRecord(**found)
        host, colon, port = record.ray_address.rpartition(":")
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError):
        return None
    return record if host and colon and port.isdigit() else None


def write_record(data: str, record: ServiceRecord) -> None:
    """Write the record of a running service.

    Raises:
        ServeError: The data folder cannot be written.
    """
    try:
        StorageFolder(data).write_json(RECORD, asdict(record))
    except OutputError as error:
        raise ServeError(str(error), fix="give --data a folder that can be written") from None


def remove_record(data: str) -> None:
    """Remove the record of a service that has ended, unless another service has replaced it."""
    record = read_record(data)
    if record is not None and record.process in (None, os.getpid()):
        StorageFolder(data).remove(RECORD)


def find_record(config: ServeConfig) -> ServiceRecord | None:
    """Return the record of the service that runs on this data folder; None if none runs.

    A record whose process or Ray is gone, as after a kill or a restart of the machine, counts as none.

    Raises:
        ServeError: A service runs there, but on another machine or not at the address that was set.
    """
    record = read_record(config.data)
    if record is None or record.is_stale():
        return None
    named = config.model_fields_set
    host = config.host if "host" in named else record.host
    port = config.port if "port" in named else record.port
    if (record.host, record.port) != (host, port):
        raise ServeError(
            f"{config.data} is in service at {record.host}:{record.port}, not at {host}:{port}",
            fix=f"set serve.host={record.host} and serve.port={record.port} to move that service to the "
            "bundle, or stop it first",
        )
    return record


def check_port(config: ServeConfig) -> None:
    """Check that the service's port is free, before Ray starts.

    Raises:
        ServeError: Another program listens there, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the HTTP server does: connections that were closed a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ServeError(
                f"cannot listen on {config.host}:{config.port}: {(error.strerror or str(error)).lower()}",
                fix="stop what listens there, or set serve.host and serve.port; a service that was killed "
                "leaves its port within a minute",
            ) from None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of another user
    return True


def _accepts_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
