"""Encoder that all shops of a service share."""

from collections.abc import Callable

from vrec.bundle.catalog import BundleCatalog
from vrec.core.errors import BundleError, ServeError
from vrec.core.masking import mask_credentials


def check_shared_encoder(bundle: BundleCatalog, default: BundleCatalog | None) -> None:
    """Raise BundleError if a tenant's bundle needs another encoder than the service's own bundle."""
    if default is not None and bundle.encoder not in (None, default.encoder):
        raise BundleError(
            f"{mask_credentials(bundle.uri)} was made with the encoder {bundle.encoder}, and all shops "
            f"of this service share {default.encoder or 'none'}",
            fix="make the bundle with the service's encoder, or without embeddings, or serve it by a service "
            "of its own",
        )


def check_has_encoder(bundle: BundleCatalog | None) -> None:
    """Raise ServeError if uploads cannot be embedded for a bundle."""
    if bundle is not None and bundle.encoder is None:
        raise ServeError(
            "the bundle has no encoders",
            fix="make a bundle from an embedding folder with `vrec bundle --embeddings`",
        )


def shared_encoder_check(default: Callable[[], BundleCatalog | None]) -> Callable[[BundleCatalog], None]:
    """Return the check of tenants' bundles against the service's own one, as it is then."""
    return lambda bundle: check_shared_encoder(bundle, default())
