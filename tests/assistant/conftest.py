"""A catalog in two languages, and an assistant over it."""

from pathlib import Path

import pyarrow as pa
import pytest

from vrec.assistant.assistant import Assistant
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog, videos_table


@pytest.fixture(scope="session")
def videos() -> pa.Table:
    """VIDEOS of 160 drawn products in eight categories, half of them Chinese; a tenth is not available."""
    plan = plan_catalog(SyntheticVideosConfig(videos=160, near_duplicates=0, broken=0))
    table = videos_table(plan, Path("videos"))
    available = pa.array([row % 10 != 9 for row in range(table.num_rows)])
    return table.set_column(table.schema.get_field_index("available"), "available", available)


@pytest.fixture(scope="session")
def assistant(videos: pa.Table) -> Assistant:
    """Assistant without documents; prices are in euros."""
    return Assistant(videos, currency="EUR")
