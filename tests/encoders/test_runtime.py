"""The kept OpenVINO networks, and what OpenVINO is kept from doing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from vrec.encoders.backbone import FrameBackbone
from vrec.encoders.runtime import cache_dir, openvino_runner

FRAMES = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


class Small(torch.nn.Module):
    """A network that converts in no time: what is kept, and when, is the same for every network."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.conv = torch.nn.Conv2d(3, 16, 3, stride=2)

    def forward(self, pictures):
        return torch.relu(self.conv(pictures.permute(0, 3, 1, 2).float() / 255)).mean((2, 3))


def load_small() -> FrameBackbone:
    return FrameBackbone(network=Small().eval(), dim=16, frame_px=32)


def runner(load=load_small):
    return openvino_runner("small", "of this test", 32, 1, load)[0]


def refuse() -> FrameBackbone:
    raise AssertionError("the network was converted again")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory):
    """A kept network and its vectors: (folder of the cache, (3, dim))."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VREC_CACHE", str(folder))
        return folder, runner()(FRAMES)


@pytest.fixture
def kept(expected, tmp_path, monkeypatch):
    """A copy of the kept network that a test may spoil: (folder of the model, vectors)."""
    folder, vectors = expected
    monkeypatch.setenv("VREC_CACHE", str(tmp_path))
    (source,) = (folder / "openvino").iterdir()
    target = tmp_path / "openvino" / source.name
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target, vectors


def test_vectors_are_torchs(expected):
    with torch.inference_mode():
        assert np.allclose(Small()(torch.from_numpy(FRAMES)).numpy(), expected[1], atol=1e-5)


def test_second_start_takes_the_kept_network(kept):
    assert np.array_equal(runner(refuse)(FRAMES), kept[1])


def test_keeping_leaves_only_whole_folders(expected):
    folder, _ = expected
    (model,) = (folder / "openvino").iterdir()
    assert {file.name for file in model.iterdir()} == {"model.xml", "model.bin", "digests.json"}


@pytest.mark.parametrize("spoil", ["cut", "flipped", "digest gone", "weights gone", "digest not json"])
def test_spoiled_network_is_made_again(kept, spoil: str):
    folder, vectors = kept
    binary = folder / "model.bin"
    content = bytearray(binary.read_bytes())
    match spoil:
        case "cut":
            binary.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[len(content) // 2] ^= 0xFF
            binary.write_bytes(content)
        case "digest gone":
            (folder / "digests.json").unlink()
        case "weights gone":
            binary.unlink()
        case "digest not json":
            (folder / "digests.json").write_text("[")
    assert np.allclose(runner()(FRAMES), vectors, atol=1e-6)
    assert np.array_equal(runner(refuse)(FRAMES), vectors)  # and it was kept whole this time


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch, expected, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("VREC_CACHE", str(blocked))
    assert np.allclose(runner()(FRAMES), expected[1], atol=1e-6)
    assert "could not save the converted network" in caplog.text


@pytest.mark.slow
def test_actors_that_start_together_end_with_one_whole_network(tmp_path, expected):
    code = """
        import sys
        from tests.encoders.test_runtime import FRAMES, runner
        import numpy as np
        np.save(sys.argv[1], runner()(FRAMES))
    """
    outputs = [tmp_path / f"{number}.npy" for number in range(2)]
    folder = tmp_path / "cache"
    started = [run_python(code, str(path), VREC_CACHE=str(folder)) for path in outputs]
    assert [process.wait() for process in started] == [0, 0]
    for path in outputs:
        assert np.allclose(np.load(path), expected[1], atol=1e-6)
    (model,) = (folder / "openvino").iterdir()
    assert {file.name for file in model.iterdir()} == {"model.xml", "model.bin", "digests.json"}


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("VREC_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("VREC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "vrec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "vrec"


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, [environment.pop("PYTHONPATH", ""), str(root)]))
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, **environment, "PYTHONPATH": path},
        cwd=root,
    )


SPY = """
    from pathlib import Path
    Path({witness!r}).write_text("imported")
    class Telemetry:
        def __init__(self, *args, **kwargs): pass
        def __getattr__(self, name): return lambda *args, **kwargs: None
"""


@pytest.mark.parametrize("through_vrec", [True, False])
def test_openvino_reports_to_nobody(tmp_path, through_vrec: bool):
    """With a telemetry package installed, vrec's import of OpenVINO never loads it; the plain one does."""
    witness = tmp_path / "witness"
    package = tmp_path / "site" / "openvino_telemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(textwrap.dedent(SPY.format(witness=str(witness))))
    plain = "import openvino, openvino.tools.ovc"
    ours = "from vrec.encoders.runtime import openvino_module; openvino_module(); import openvino.tools.ovc"
    process = run_python(ours if through_vrec else plain, PYTHONPATH=str(tmp_path / "site"))
    assert process.wait() == 0
    assert witness.exists() != through_vrec
