"""Schema of the table of moments."""

import pyarrow as pa

from vrec.core.schema import STRING, TableColumn, TableSchema, VectorType

MOMENTS = TableSchema(
    "MOMENTS",
    (
        TableColumn("video_id", STRING),
        TableColumn("modality", STRING),
        TableColumn("encoder", STRING),
        TableColumn("start_s", pa.float32()),
        TableColumn("end_s", pa.float32()),
        TableColumn("text", STRING, nullable=True),
        TableColumn("scale", pa.float32()),
        TableColumn("vector", VectorType(pa.int8())),
    ),
)
"""One row per moment of a video and modality: `vector` times `scale` is a unit vector, times are seconds from
the first frame, and `text` is a subtitle."""
