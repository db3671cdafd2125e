"""Small catalog of synthetic product videos with known classes, for the demo and for tests."""

from vrec.synthetic.videos.encode import draw_video
from vrec.synthetic.videos.plan import SyntheticVideo, SyntheticVideosConfig, plan_catalog, videos_table

__all__ = ["SyntheticVideo", "SyntheticVideosConfig", "draw_video", "plan_catalog", "videos_table"]
