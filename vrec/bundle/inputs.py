"""Inputs of a bundle, and checks of their consistency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import BundleError, ConfigError, ModelError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import Modality
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.profiles.update import ProfilesConfig, embedding_matrix
from vrec.ranking.base import ProfileRanker
from vrec.ranking.network_ranker import NetworkRanker
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.models.creators import CreatorRecommender


@dataclass(frozen=True, eq=False)
class BundleInputs:
    """Tables, models and settings that make a bundle."""

    videos: pa.Table
    """VIDEOS."""
    ranker: ProfileRanker | None
    """None ranks in the order of the recommender, which then must be given."""
    profiles: ProfilesConfig
    """Settings of the profiles that the ranker was trained with."""
    fused: pa.Table | None = None
    """EMBEDDINGS of modality fused; embeddings of videos that are not in VIDEOS are left out."""
    texts: pa.Table | None = None
    """EMBEDDINGS of modality text; embeddings of videos that are not in VIDEOS are left out."""
    recommender: MatrixRecommender | None = None
    """Recommender of the neighbors; without it no video has neighbors."""
    live: LiveRecommender | None = None
    """Model of live streams; without it they are in the order of several signals."""
    interactions: pa.Table | None = None
    """INTERACTIONS that popularity is computed from; without them the newest videos count as popular."""
    creators: pa.Table | None = None
    """CREATORS of the videos; without them nothing is known of the creators."""
    creator_model: CreatorRecommender | None = None
    """Recommender of creators; without it they are recommended by their videos' vectors and figures."""
    log_end: int | None = None
    """Time of the last event of the oldest log that a part was made of, µs since 1970; None if unknown."""
    log_newest: int | None = None
    """Time of the last event of the newest log that a part was made of, µs since 1970; None if unknown."""
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Offline figures of the models as JSON values, by model, which the bundle's manifest keeps."""
    moments: Mapping[Modality, pa.Table | None] = field(default_factory=dict)
    """MOMENTS by modality; moments of videos that are not in VIDEOS are left out."""
    fingerprints: pa.Table | None = None
    """`video_id` and `fingerprint` of videos; without them copies among uploads are not found."""
    held_back: Mapping[str, str] = field(default_factory=dict)
    """Reason by video of those that have no vector since their content earns nothing."""
    embed: EmbedConfig | None = None
    """Settings that made the embeddings; without them neither uploads nor search texts can be embedded."""


def validate_inputs(inputs: BundleInputs) -> BundleInputs:
    """Check that inputs belong together; return them with VIDEOS sorted by id and embeddings of these only.

    Raises:
        BundleError: The inputs are empty, repeated, not finite, or do not belong together.
        SchemaError: The columns of a table are not those of its schema.
    """
    videos = conform(inputs.videos, VIDEOS, stage="bundle", extra=True).sort_by("video_id").combine_chunks()
    ids = videos.column("video_id").combine_chunks()
    if not len(ids):
        raise BundleError("VIDEOS has no rows", fix="give the shop's videos")
    _check_unique(ids, "VIDEOS.video_id")
    fused, texts = (_embeddings_of(table, modality, ids) for modality, table in _embedding_tables(inputs))
    if inputs.ranker is not None:
        _check_ranker(inputs.ranker, None if fused is None else embeddings_encoder(fused))
    if inputs.recommender is not None:
        known = pc.is_in(ids, value_set=inputs.recommender.videos.ids)
        if not pc.any(known).as_py():
            raise BundleError(
                f"the recommender {inputs.recommender.kind} knows none of the {len(ids):,} videos in VIDEOS, "
                f"such as {ids[0]}",
                fix="give the recommender that was fitted on events of these videos",
            )
    if inputs.creator_model is not None:
        _check_creators(inputs.creator_model, videos)
    if inputs.embed is not None:
        _check_encoders(inputs.embed, {"fused": fused, "text": texts})
    return replace(inputs, videos=videos, fused=fused, texts=texts)


def embeddings_encoder(embeddings: pa.Table) -> str:
    """Return the encoder of EMBEDDINGS rows, which have one encoder."""
    return embeddings.column("encoder")[0].as_py()


def _embedding_tables(inputs: BundleInputs) -> Sequence[tuple[Modality, pa.Table | None]]:
    return ("fused", inputs.fused), ("text", inputs.texts)


def _embeddings_of(table: pa.Table | None, modality: Modality, ids: pa.Array) -> pa.Table | None:
    if table is None:
        return None
    rows = conform(table, EMBEDDINGS, stage=f"bundle, {modality} embeddings")
    _check_unique(rows.column("entity_id"), f"EMBEDDINGS.entity_id ({modality})")
    for name, wanted in (("modality", [modality]), ("encoder", None)):
        values = sorted(pc.unique(rows.column(name)).to_pylist())
        if len(values) != 1 or (wanted and values != wanted):
            raise BundleError(
                f"the {modality} embeddings have {name} {', '.join(values) or 'none'}, want one"
                + (f": {modality}" if wanted else ""),
                fix=f"give the rows of modality {modality} of one `vrec embed`",
            )
    rows = rows.filter(pc.is_in(rows.column("entity_id"), value_set=ids)).sort_by("entity_id")
    if not rows.num_rows:
        raise BundleError(
            f"none of the {len(ids):,} videos in VIDEOS has a {modality} embedding, such as {ids[0]}",
            fix="embed these videos, or give the VIDEOS table that was embedded",
        )
    bad = np.flatnonzero(~np.isfinite(embedding_matrix(rows)).all(axis=1))
    if len(bad):
        raise BundleError(
            f"EMBEDDINGS.vector ({modality}) is not finite in {len(bad):,} of {rows.num_rows:,} rows, such "
            f"as {rows.column('entity_id')[int(bad[0])]}",
            fix="embed those videos again",
        )
    return rows.combine_chunks()


def _check_unique(ids: pa.Array | pa.ChunkedArray, name: str) -> None:
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise BundleError(
            f"{name} has repeated ids, {len(repeated):,} of them, such as {repeated[0]['values']}",
            fix="give every video one row",
        )


def _check_ranker(ranker: ProfileRanker, encoder: str | None) -> None:
    trained = ranker.space.encoder if isinstance(ranker, NetworkRanker) and ranker.space.dim else None
    if trained is not None and trained != encoder:
        given = f"the fused embeddings are of {encoder}" if encoder else "there are no fused embeddings"
        raise BundleError(
            f"the ranker was trained with the embeddings of {trained}, and {given}",
            fix="give the embeddings that it was trained with, or train it again with these",
        )


def _check_creators(model: CreatorRecommender, videos: pa.Table) -> None:
    creators = pc.unique(videos.column("creator_id"))
    if not pc.any(pc.is_in(creators, value_set=model.videos.ids)).as_py():
        raise BundleError(
            f"the recommender of creators knows none of the {len(creators):,} creators in VIDEOS, such as "
            f"{creators[0]}",
            fix="give the one that `vrec fit --model creators` with `events.of: creator` fitted on this shop",
        )


def _check_encoders(config: EmbedConfig, tables: dict[Modality, pa.Table | None]) -> None:
    try:
        names = encoder_names(config.encoders)
    except (ConfigError, ModelError) as error:
        raise BundleError(f"the encoders cannot be loaded: {error}", fix=error.fix) from None
    for modality, table in tables.items():
        if table is not None and names.get(modality) != (encoder := embeddings_encoder(table)):
            raise BundleError(
                f"the {modality} embeddings are of {encoder}, and these settings of the encoders make those "
                f"of {names.get(modality) or 'none'}",
                fix="embed the catalog again with this version and these settings",
            )
