"""Devices and seeds."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vrec.core.errors import ConfigError
from vrec.training.config import TrainingConfig
from vrec.training.device import seeded_rng, torch_device


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch.device("cpu")
    assert torch_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "there"), [("cuda", 0), ("cuda:1", 1), ("cuda:2", 2)])
def test_a_gpu_that_is_not_there_is_refused_with_their_number(name, there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(
        ConfigError, match=f"device is {name}, but this machine has {there} CUDA GPUs"
    ) as caught:
        torch_device(name)
    assert "device=auto" in caught.value.fix
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there + 1)
    assert torch_device(name) == torch.device(name)


def test_mps_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device is mps, but this machine has no such GPU"):
        torch_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert torch_device("mps").type == "mps"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_names_of_no_device_are_refused(name):
    with pytest.raises(ValidationError):
        TrainingConfig(device=name)


def test_a_seed_fixes_numpys_and_torchs_draws_and_leaves_the_callers_state():
    def draw(seed):
        with seeded_rng(seed) as rng:
            return rng.random(), torch.rand(()).item()

    torch.manual_seed(5)
    wanted = torch.rand(2).tolist()
    torch.manual_seed(5)
    first = torch.rand(1).item()
    assert draw(0) == draw(0)
    assert len({*draw(0), *draw(1)}) == 4
    assert draw(3)[0] == np.random.default_rng(3).random()
    assert [first, torch.rand(1).item()] == wanted
