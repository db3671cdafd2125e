"""HLS streams that ffmpeg writes of drawn product clips."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from vrec.synthetic.videos import SyntheticVideo, SyntheticVideosConfig, draw_video, plan_catalog

FPS = 8
DRAW = SyntheticVideosConfig(
    videos=16, near_duplicates=0, broken=0, seconds=4.0, fps=FPS, width=160, height=160
)
MPEG_TS, FRAGMENTED, ONE_FILE = (
    (),
    ("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"),
    ("-hls_flags", "single_file"),
)


def drawn(category: str, number: int = 0) -> SyntheticVideo:
    """Return the plan of a clip of 4 s that shows a category."""
    return [one for one in plan_catalog(DRAW) if one.category == category][number]


def ffmpeg(*arguments: str | Path, cwd: Path | None = None) -> None:
    """Run ffmpeg to its end."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, cwd=cwd, timeout=120)


@dataclass(frozen=True)
class Segments:
    """Segments of one clip."""

    playlist: str
    """Playlist that ffmpeg wrote of them, with its end."""
    files: dict[str, bytes]
    """All files by name, the playlist left out."""


def write_hls(folder: Path, video: SyntheticVideo, name: str, *options: str, seconds: int = 1) -> Segments:
    """Write a clip as segments `NAME0.ts`, `NAME1.ts` and so on, of `seconds` each."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_video(video, folder)
    clip = folder / video.file
    extension = "m4s" if "fmp4" in options else "ts"
    ffmpeg(
        *("-i", clip.absolute(), "-c:v", "libx264", "-g", FPS * seconds, "-sc_threshold", 0, "-bf", 0),
        *("-c:a", "aac", "-f", "hls", "-hls_time", seconds, "-hls_list_size", 0),
        *("-hls_segment_filename", f"{name}.ts" if options == ONE_FILE else f"{name}%d.{extension}"),
        *options,
        f"{name}.m3u8",
        cwd=folder,
    )
    clip.unlink()
    files = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}
    return Segments(files.pop(f"{name}.m3u8").decode(), files)


def live_playlist(names: list[str], first: int = 0, *, seconds: float = 1.0, ended: bool = False) -> bytes:
    """Return a playlist of these segments, the first of which has the media sequence number `first`."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for name in names:
        lines += [f"#EXTINF:{seconds:.3f},", name]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]).encode()
