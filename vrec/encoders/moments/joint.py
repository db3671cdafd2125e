"""Joint encoder of pictures and texts (Radford et al. 2021; Zhai et al. 2023), from open_clip.

Its weights come from a hub or a folder: no package brings them.
"""

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vrec.core.errors import ConfigError
from vrec.core.types import Frames, Vectors
from vrec.encoders.digest import encoder_name
from vrec.encoders.moments.config import JointEncoderConfig
from vrec.encoders.vectors import unit_rows

LOCAL = "local:"
"""Prefix of a model in a folder."""
INSTALL = 'pip install "vrec[hub]"'
BATCH = 32


def joint_name(config: JointEncoderConfig) -> str:
    """Return `joint@` and a digest of the model: of a folder's files, or else of its name and of open_clip.

    Raises:
        ConfigError: The library or the folder is missing.
    """
    _check_installed(config)
    if not config.model.startswith(LOCAL):
        return encoder_name("joint", {"model": config.model, "library": version("open_clip_torch")})
    folder = Path(config.model.removeprefix(LOCAL))
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not any(path.name == "open_clip_config.json" for path in files):
        raise ConfigError(
            f"embed.moments.joint.model={config.model}: there is no open_clip_config.json",
            fix="give a folder that open_clip's push_to_hf_hub or save_for_hf wrote",
        )
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return encoder_name("joint", {"files": digests})


class JointEncoder:
    """Encoder of pictures and of texts to unit vectors that can be compared. Not for several threads."""

    def __init__(self, config: JointEncoderConfig, *, device: str = "cpu") -> None:
        """Load the model on a device.

        Raises:
            ConfigError: The library, the folder or the weights are missing.
        """
        self.name = joint_name(config)
        self._device, self._threads = device, config.threads
        open_clip: Any = importlib.import_module("open_clip")
        local = config.model.startswith(LOCAL)
        name = f"local-dir:{config.model.removeprefix(LOCAL)}" if local else config.model
        try:
            model, transform = open_clip.create_model_from_pretrained(name, device=device)
            self._tokenize: Any = open_clip.get_tokenizer(name)
        except ImportError as error:  # of what only some models need, such as SigLIP's tokenizer
            raise ConfigError(
                f"embed.moments.joint.model={config.model} needs the package {error.name}", fix=INSTALL
            ) from error
        except Exception as error:  # each hub client has its own errors for the same failure
            raise ConfigError(
                f"embed.moments.joint.model={config.model}: its weights could not be loaded "
                f"({type(error).__name__}: {error})",
                fix="connect this machine to the hub once, or give local: and a folder with the model",
            ) from error
        self._model, self._transform = model.eval(), transform

    def pictures(self, frames: Frames) -> Vectors:
        """Return the (N, dim) unit vectors of (N, S, S, 3) uint8 pictures."""
        from PIL import Image

        return self._encode(
            [self._transform(Image.fromarray(frame)) for frame in frames], self._model.encode_image
        )

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return the (N, dim) unit vectors of texts."""
        return self._encode(list(self._tokenize(list(texts))), self._model.encode_text)

    def _encode(self, inputs: Sequence[Any], encode: Any) -> Vectors:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            rows = []
            for start in range(0, len(inputs), BATCH):
                batch = torch.stack(list(inputs[start : start + BATCH])).to(self._device)
                with torch.inference_mode():
                    rows.append(encode(batch).float().cpu().numpy())
            return unit_rows(np.concatenate(rows)) if rows else np.empty((0, 0), np.float32)
        finally:
            torch.set_num_threads(before)


def _check_installed(config: JointEncoderConfig) -> None:
    if importlib.util.find_spec("open_clip") is None:
        raise ConfigError(
            f"embed.moments.joint.model={config.model} needs the package open_clip_torch",
            fix=INSTALL,
        )
