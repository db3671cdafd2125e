"""Settings of `vrec scan-pii`."""

from pydantic import Field, field_validator

from vrec.core.config import BaseConfig


class PiiScanConfig(BaseConfig):
    """Settings of the search for personal data."""

    regions: tuple[str, ...] = ("CN",)
    """Regions whose phone numbers are found without a country code, as ISO 3166 codes; with one, numbers of
    every region are found."""
    min_share: float = Field(default=0.6, gt=0, le=1)
    """Bare digits may be a phone or card number, or an order's. They count where at least this share of a
    column's numbers of such a length are valid; the others are listed as look-alikes."""

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        import phonenumbers

        for region in regions:
            if region not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(f"{region} is no region, such as CN or US")
        return regions
