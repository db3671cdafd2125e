"""A real S3 server that no environment names: its endpoint and its keys stand in each URI."""

import contextlib
import io
import logging
from collections.abc import Iterator
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer

from vrec.core.tables import StorageFolder
from vrec.core.uris import read_file

SECRET = "an/S3+secret"
SECRETS = (SECRET, quote(SECRET, safe=""))
"""The secret as it is, and as it stands in URIs."""


class Bucket:
    """A bucket, with URIs that say how to reach it."""

    def __init__(self, port: int) -> None:
        self.query = f"endpoint_override=http%3A%2F%2F127.0.0.1%3A{port}&region=us-east-1"
        self._root = StorageFolder(f"s3://KEY:{SECRETS[1]}@shop?{self.query}&allow_bucket_creation=true")
        self._root.filesystem.create_dir("shop")

    def uri(self, path: str) -> str:
        return f"s3://KEY:{SECRETS[1]}@shop/{path}?{self.query}"

    def shown(self, path: str) -> str:
        """The URI as messages have it."""
        return f"s3://KEY:***@shop/{path}?{self.query}"

    def write(self, path: str, data: bytes) -> str:
        folder, _, name = path.rpartition("/")
        StorageFolder(self.uri(folder)).write(name, data)
        return self.uri(path)

    def write_table(self, path: str, table: pa.Table) -> str:
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return self.write(path, sink.getvalue())

    def names(self) -> set[str]:
        """The names of all files and folders."""
        infos = self._root.filesystem.get_file_info(pafs.FileSelector("shop", recursive=True))
        return {info.path.removeprefix("shop/") for info in infos}

    def assert_clean(self, *outputs: str) -> None:
        """These files are there, no name below `out` holds a part of a query, and no text a secret.

        Except `served.json`, by which a service finds its last bundle again: see docs/security.md.
        """
        names = {name for name in self.names() if name.startswith("out/")}
        assert not set(outputs) - names
        assert not [name for name in names if "endpoint" in name or "?" in name]
        for name in names:
            if name.endswith((".json", ".html")) and not name.endswith("/served.json"):
                text = read_file(self.uri(name)).decode()
                assert not [secret for secret in SECRETS if secret in text], name


@contextlib.contextmanager
def s3_bucket() -> Iterator[Bucket]:
    """Run the server until the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield Bucket(server.get_host_and_port()[1])
    finally:
        server.stop()
