"""A small catalogue of drawn product clips with planted look and sound, for the demo and for tests."""

from vrec.synthetic.videos.encode import draw_video
from vrec.synthetic.videos.plan import DrawConfig, DrawnVideo, plan_catalogue, videos_table

__all__ = ["DrawConfig", "DrawnVideo", "draw_video", "plan_catalogue", "videos_table"]
