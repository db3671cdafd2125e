"""Record of the last good bundle in the data folder. Imports no Ray."""

import json
from typing import Any

from vrec.bundle.catalog import BundleCatalog
from vrec.core.errors import BundleError
from vrec.core.masking import mask_credentials
from vrec.core.tables import StorageFolder

SERVED = "served.json"
"""File in the data folder: the last bundle that passed its smoke requests, its encoder, and the version of
the bundle before."""


def read_last_good(data: StorageFolder) -> dict[str, Any]:
    """Return what SERVED in a data folder holds; {} before the first good bundle."""
    try:
        return json.loads(data.read(SERVED))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def check_encoder(bundle: BundleCatalog, data: StorageFolder) -> None:
    """Raise BundleError if the profiles of a data folder were made with another encoder than a bundle."""
    last = read_last_good(data)
    if last and bundle.encoder != last["encoder"]:
        raise BundleError(
            f"{mask_credentials(bundle.uri)} was made with the encoder {bundle.encoder}, and the profiles "
            f"here with {last['encoder']}: tastes are vectors of one encoder",
            fix="give a bundle made with that encoder, or serve this one with a new --data and a new store "
            "(serve.store.path or serve.store.prefix), and send the exported events there",
        )
