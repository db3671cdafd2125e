"""Defences of fits against fake shoppers, with the tables that they need."""

import logging

import pyarrow as pa

from vrec.core.schema import TIMESTAMP
from vrec.core.table_batches import open_table
from vrec.events.hiding import HIDES
from vrec.retrieval.shown_videos import shown_videos
from vrec.robustness.config import DefenceConfig
from vrec.robustness.defences.fit import DefendedInteractions, defend

_log = logging.getLogger(__name__)


def defend_inputs(interactions: pa.Table, config: DefenceConfig) -> DefendedInteractions:
    """Return INTERACTIONS as the settings say that a fit is to count them.

    Raises:
        SourceError: The table of shoppers' weights cannot be read.
        FitError: It has other columns, a shopper twice, or weights outside 0 to 1.
    """
    weights = None
    if config.shopper_weights is not None:
        batches = open_table(config.shopper_weights)
        weights = pa.Table.from_batches(batches, batches.schema)
    defended = defend(interactions, config, weights, lambda: shown_videos(interactions, weights))
    if promoted := defended.report.get("promoted"):
        _log.info(
            "%s videos look promoted, and %s more that lists hardly show: %s interactions are left out",
            f"{promoted['videos']:,}",
            f"{promoted['left_alone']:,}",
            f"{promoted['interactions']:,}",
        )
    return defended


def hide_left_out(hides: pa.Table, defended: DefendedInteractions) -> pa.Table:
    """Return the videos that users have hidden, and those of their interactions that a fit left out.

    So that a shopper's list has no video that the shopper has seen, although the fit does not count it.
    """
    out = defended.left_out
    if not out.num_rows:
        return hides
    columns = [out["user_id"], out["video_id"], out["at"].cast(TIMESTAMP), pa.array([True] * out.num_rows)]
    return pa.concat_tables([pa.Table.from_arrays(columns, schema=HIDES), hides])
