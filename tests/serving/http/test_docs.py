"""Every command in docs/http.md, run by a shell against a real server."""

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from PIL import Image

from tests.films import numbered, write_video
from vrec.serving.http.keys import create_key

DOCS = Path(__file__).resolve().parents[3] / "docs" / "http.md"


@pytest.fixture
def server(made, tmp_path):
    """Serve the shop with uvicorn; yield its URL and a key."""
    secret, entry = create_key("docs:read+events+manage")
    app, _ = made({"VREC_API_KEYS": entry}, security={"media_roots": [str(tmp_path / "media")]})
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", secret
    server.should_exit = True
    thread.join()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_the_commands_of_the_documentation_work_as_they_stand(server, tmp_path):
    film = write_video(tmp_path / "clip.mp4", [numbered(n) for n in range(50)])
    Image.new("RGB", (64, 48), (10, 20, 200)).save(tmp_path / "photo.png")
    (tmp_path / "media").mkdir()
    shutil.copy(film, tmp_path / "media" / "other.mp4")
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    commands = [block for block in blocks if block.startswith("curl")]
    assert len(commands) > 8
    url, secret = server
    quiet = 'curl() { command curl -sS --fail-with-body "$@"; }\nset -e\n'
    for block in commands:
        done = subprocess.run(
            ["bash", "-c", quiet + block],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "VREC": url, "KEY": secret},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
    assert (tmp_path / "part.mp4").read_bytes() == film.read_bytes()[:1024]
    # What the assistant was asked for is three of the events.
    assert b"x-next-cursor: 9" in (tmp_path / "headers.txt").read_bytes()
    assert (tmp_path / "events-0.parquet").read_bytes()[:4] == b"PAR1"
