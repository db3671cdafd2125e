"""What a bundle is made of, and whether it belongs together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import BundleError, ConfigError, ModelError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import Modality
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.base import ProfileRanker
from vrec.ranking.network_ranker import NetworkRanker
from vrec.retrieval.base import MatrixRecommender


@dataclass(frozen=True, eq=False)
class BundleInputs:
    """What a bundle is made of."""

    videos: pa.Table
    """VIDEOS."""
    ranker: ProfileRanker
    profiles: ProfilesConfig
    """How the profiles were made that the ranker was trained with."""
    fused: pa.Table | None = None
    """EMBEDDINGS of modality fused; those of videos that are not in VIDEOS are left out."""
    texts: pa.Table | None = None
    """EMBEDDINGS of modality text, likewise."""
    recommender: MatrixRecommender | None = None
    """Gives the neighbours; there are none without."""
    interactions: pa.Table | None = None
    """INTERACTIONS that popularity is counted by; without, the newest videos stand in for popular ones."""
    embed: EmbedConfig | None = None
    """How the embeddings were made; without, no uploaded video and no search text can be embedded."""


def validate_inputs(parts: BundleInputs) -> BundleInputs:
    """The parts with VIDEOS by id and embeddings of these only; raises BundleError, SchemaError."""
    videos = conform(parts.videos, VIDEOS, stage="bundle", extra=True).sort_by("video_id").combine_chunks()
    ids = videos.column("video_id").combine_chunks()
    if not len(ids):
        raise BundleError("VIDEOS has no rows", fix="give the shop's videos")
    _check_once(ids, "VIDEOS.video_id")
    fused, texts = (_vectors(table, modality, ids) for modality, table in _tables(parts))
    _check_ranker(parts.ranker, None if fused is None else embeddings_encoder(fused))
    if parts.recommender is not None:
        known = pc.is_in(ids, value_set=parts.recommender.videos.ids)
        if not pc.any(known).as_py():
            raise BundleError(
                f"the recommender {parts.recommender.kind} knows none of the {len(ids):,} videos in VIDEOS, "
                f"such as {ids[0]}",
                fix="give the recommender that was fitted on events of these videos",
            )
    if parts.embed is not None:
        _check_encoders(parts.embed, {"fused": fused, "text": texts})
    return replace(parts, videos=videos, fused=fused, texts=texts)


def embeddings_encoder(embeddings: pa.Table) -> str:
    """The one encoder of EMBEDDINGS rows."""
    return embeddings.column("encoder")[0].as_py()


def _tables(parts: BundleInputs) -> Sequence[tuple[Modality, pa.Table | None]]:
    return ("fused", parts.fused), ("text", parts.texts)


def _vectors(table: pa.Table | None, modality: Modality, ids: pa.Array) -> pa.Table | None:
    if table is None:
        return None
    rows = conform(table, EMBEDDINGS, stage=f"bundle, {modality} embeddings")
    _check_once(rows.column("entity_id"), f"EMBEDDINGS.entity_id ({modality})")
    for name, wanted in (("modality", [modality]), ("encoder", None)):
        found = sorted(pc.unique(rows.column(name)).to_pylist())
        if len(found) != 1 or (wanted and found != wanted):
            raise BundleError(
                f"the {modality} embeddings have {name} {', '.join(found) or 'none'}, want one"
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


def embedding_matrix(embeddings: pa.Table) -> np.ndarray:
    """The (N, dim) float32 vectors of EMBEDDINGS rows."""
    column = embeddings.column("vector").combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(column), -1)


def _check_once(ids: pa.Array | pa.ChunkedArray, name: str) -> None:
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise BundleError(
            f"{name}: {len(twice):,} ids come more than once, such as {twice[0]['values']}",
            fix="give every video one row",
        )


def _check_ranker(ranker: ProfileRanker, encoder: str | None) -> None:
    trained = ranker.space.encoder if isinstance(ranker, NetworkRanker) and ranker.space.dim else None
    if trained is not None and trained != encoder:
        has = f"the fused embeddings are of {encoder}" if encoder else "there are no fused embeddings"
        raise BundleError(
            f"the ranker was trained with the embeddings of {trained}, and {has}",
            fix="give the embeddings that it was trained with, or train it again with these",
        )


def _check_encoders(config: EmbedConfig, tables: dict[Modality, pa.Table | None]) -> None:
    try:
        names = encoder_names(config.encoders)
    except (ConfigError, ModelError) as error:
        raise BundleError(f"the encoders cannot be had: {error}", fix=error.fix) from None
    for modality, table in tables.items():
        if table is not None and names.get(modality) != (found := embeddings_encoder(table)):
            raise BundleError(
                f"the {modality} embeddings are of {found}, and these settings of the encoders make those of "
                f"{names.get(modality) or 'none'}",
                fix="embed the catalogue again with this version and these settings",
            )
