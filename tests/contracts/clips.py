"""Clips for the encoder tests: vrec's own drawn videos, encoded and decoded again."""

from pathlib import Path

from vrec.core.types import Clip
from vrec.encoders.text import clip_text
from vrec.media.decode import MediaConfig, decode
from vrec.media.frame_sampling import FrameSamplingConfig
from vrec.synthetic.videos.encode import draw_video
from vrec.synthetic.videos.plan import SyntheticVideosConfig, plan_catalog


def decoded_clips(folder: Path, count: int) -> list[Clip]:
    """`count` clips of different wares, with 4, 3, 2, 1, 1, … frames, sound, zh and en text."""
    plan = plan_catalog(SyntheticVideosConfig(videos=count, near_duplicates=0, broken=0, seconds=1.5, fps=8))
    clips = []
    for number, drawn in enumerate(plan):
        draw_video(drawn, folder)
        frames = FrameSamplingConfig(frames=max(1, 4 - number))
        decoded = decode(folder / drawn.file, MediaConfig(sample=frames))
        clips.append(
            Clip(
                drawn.video_id,
                frames=decoded.frames,
                audio=decoded.audio,
                text=clip_text(drawn.title, drawn.tags),
            )
        )
    return clips
