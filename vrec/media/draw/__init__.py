"""A small catalogue of drawn product clips with planted look and sound, for the demo and for tests."""

from vrec.media.draw.film import draw_video
from vrec.media.draw.plan import DrawConfig, DrawnVideo, plan_catalogue, videos_table

__all__ = ["DrawConfig", "DrawnVideo", "draw_video", "plan_catalogue", "videos_table"]
