"""Content of a catalog without that of videos that are held back: copies and doctored ones."""

from dataclasses import replace

import pyarrow as pa

from vrec.bundle.config import BundleConfig
from vrec.bundle.held_back import ContentFindings, content_findings, held_back, without_vectors
from vrec.core.tables import read_manifest
from vrec.core.types import CatalogContent
from vrec.pipelines.inputs import InputData


def find_held(embeddings: str | None, videos: pa.Table) -> ContentFindings:
    """Return what the run that made the embeddings found about VIDEOS; nothing without embeddings."""
    return content_findings((read_manifest(embeddings) or {}) if embeddings else {}, videos)


def hold_back_content(
    data: InputData, embeddings: str | None, config: BundleConfig
) -> tuple[InputData, dict[str, str]]:
    """Return inputs without the embeddings of videos that the settings hold back, and the reason by video.

    So a model that reads content places them by what shoppers did, as a bundle of the same settings does.
    Their rows of VIDEOS stay.
    """
    if data.content is None:
        return data, {}
    content, held = without_held(data.content, embeddings, config)
    return replace(data, content=content), held


def without_held(
    content: CatalogContent, embeddings: str | None, config: BundleConfig
) -> tuple[CatalogContent, dict[str, str]]:
    """Return content without the embeddings that `hold_back_content` leaves out, and the reason by video."""
    if not config.hold_back or content.videos is None or content.embeddings is None:
        return content, {}
    held = held_back(find_held(embeddings, content.videos), config)
    return replace(content, embeddings=without_vectors(content.embeddings, held)), held
