"""Near-duplicates: what is found of copies that were altered in 20 ways, what it costs, and how it scales.

`python benchmarks/near_duplicates.py quality --videos FOLDER --work DIR` alters every clip with ffmpeg, puts
each kind of copy into a catalog with all originals, and counts which copies land in the group of their
original, and which groups hold anything else. The thresholds in `vrec/media/duplicates/alignment.py` were
chosen on the even half of the clips; the odd half is reported beside it. Clips named `neardup_*` are one
recording, and only one of them is altered. `… cost --videos FOLDER` compares decoding with and without
fingerprints. `… scale --videos FOLDER --count 10000 100000` measures catalogs of videos that are made from
real fingerprints by cropping, mirroring and blending two of them.
"""

import argparse
import resource
import subprocess
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess
from vrec.media.duplicates.alignment import FingerprintPictures, align, is_copy
from vrec.media.duplicates.candidates import candidate_pairs
from vrec.media.duplicates.fingerprint import (
    GRID,
    LEVELS,
    THUMBNAIL_PX,
    area_weights,
    decode_fingerprint,
    encode_fingerprint,
)
from vrec.media.duplicates.groups import (
    HELD_FINGERPRINTS,
    MAX_FAILURES,
    FingerprintRow,
    near_duplicates,
)

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"
KINDS: dict[str, tuple[str, int, bool]] = {
    "low bit rate": ("scale=-2:180", 38, False),
    "other aspect": ("scale=320:240,setsar=1", 28, False),
    "letterbox": ("pad=iw:ih*1.34:0:(oh-ih)/2:black", 26, False),
    "white pillars": ("pad=iw*1.3:ih:(ow-iw)/2:0:white", 26, False),
    "bar with text": (
        "pad=iw:ih*1.2:0:0:yellow,"
        f"drawtext=fontfile={FONT}:text='SALE 50%% off':fontsize=h*0.1:x=10:y=h*0.87",
        26,
        False,
    ),
    "logo, 4 %": ("drawbox=x=iw*0.75:y=ih*0.05:w=iw*0.2:h=ih*0.2:color=red:t=fill", 26, False),
    "logo, 10 %": ("drawbox=x=iw*0.1:y=ih*0.1:w=iw*0.35:h=ih*0.3:color=blue:t=fill", 26, False),
    "subtitles": (
        f"drawtext=fontfile={FONT}:text='%{{eif\\:t*7919\\:d}} lorem ipsum':fontsize=h*0.08:"
        "x=(w-tw)/2:y=h*0.85:fontcolor=white:box=1:boxcolor=black",
        26,
        False,
    ),
    "crop, 5 % a side": ("crop=iw*0.9:ih*0.9", 26, False),
    "crop, 10 % a side": ("crop=iw*0.8:ih*0.8", 26, False),
    "crop, one corner": ("crop=iw*0.82:ih*0.9:iw*0.18:ih*0.02", 26, False),
    "speed 1.05": ("setpts=PTS/1.05", 26, False),
    "trimmed at both ends": ("null", 26, True),
    "1.5 s longer": ("tpad=start_duration=1.5:start_mode=add:color=green", 26, False),
    "brightness": ("eq=brightness=0.12:contrast=1.3:gamma=1.2", 26, False),
    "sepia": ("colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131", 26, False),
    "11 frames a second": ("fps=11", 26, False),
    "crop, logo, bars, trim": (
        "crop=iw*0.94:ih*0.94,scale=-2:240,drawbox=x=iw*0.7:y=ih*0.04:w=iw*0.25:h=ih*0.12:color=white:t=fill,"
        "pad=iw:ih*1.5:0:(oh-ih)/2:black,eq=contrast=1.15",
        33,
        True,
    ),
    "upright, blurred behind": (
        "split[a][b];[a]scale=270:480,boxblur=20[bg];[b]scale=270:-2[fg];[bg][fg]overlay=0:(H-h)/2,setsar=1",
        28,
        False,
    ),
    "mirrored": ("hflip", 26, False),
}
"""Filter, quality (crf) and whether both ends are cut off, up to 1.3 s at the start and 0.9 s at the end."""
PLANTED = 200
"""Pairs of an invented video and its crop."""
MEDIA = MediaConfig(audio=AudioConfig(enabled=False), fingerprint=True)


def alter(clip: Path, folder: Path) -> None:
    """Write every kind of copy of a clip; those that exist stay."""
    base = folder / "base" / f"{clip.stem}.mp4"
    if not base.exists():
        ffmpeg(["-i", clip, "-t", "26", "-vf", "scale='trunc(min(640,iw)/2)*2':-2"], 16, base)
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(base)]
    length_s = float(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)
    cut_s = min(1.3, 0.15 * length_s)
    for number, (chain, crf, trimmed) in enumerate(KINDS.values()):
        copy = folder / "copies" / f"{clip.stem}__{number}.mp4"
        if not copy.exists():
            span = ["-ss", f"{cut_s:.3f}", "-t", f"{length_s - 1.7 * cut_s:.3f}"] if trimmed else []
            even = f"{chain},scale=trunc(iw/2)*2:trunc(ih/2)*2"
            ffmpeg([*span, "-i", base, "-filter_complex", even], crf, copy)


def ffmpeg(arguments: list[object], crf: int, out: Path) -> None:
    """Encode one file as H.264."""
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-an", "-crf", str(crf)]
    words = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-nostdin",
        "-threads",
        "1",
        *map(str, arguments),
        *encoder,
        str(out),
    ]
    subprocess.run(words, check=True)


def fingerprints(paths: list[Path]) -> dict[str, bytes]:
    """Return the fingerprints of the videos that can be embedded, by their names without ending."""
    found: dict[str, bytes] = {}
    with DecodeProcess(MEDIA) as decoder:
        for path, video in zip(paths, decoder.decode_many([str(p) for p in paths]), strict=True):
            if isinstance(video, Exception) or video.fingerprint is None:
                print(f"left out: {path.name}: {video}")
            else:
                found[path.stem] = video.fingerprint
    return found


def quality(videos: Path, work: Path) -> None:
    """Print what is found of every kind of copy."""
    clips = sorted(p for p in videos.iterdir() if p.suffix.lower() != ".csv")
    labelled = [p.stem for p in clips if p.stem.startswith("neardup")]
    altered = [p for p in clips if p.stem not in labelled[:-1]]
    for name in ("base", "copies"):
        (work / name).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda clip: alter(clip, work), altered))
    originals = fingerprints(clips)
    copies = fingerprints(sorted((work / "copies").glob("*.mp4")))
    same = {name: labelled[0] if name in labelled else name for name in originals}
    report_labelled(originals, labelled)
    print("| copies | found, chosen on | found, held out | other videos in their groups |\n|---|---|---|---|")
    for number, kind in enumerate(KINDS):
        some = {name: code for name, code in copies.items() if name.endswith(f"__{number}")}
        groups = near_duplicates(FingerprintRow(n, n, code) for n, code in (originals | some).items())
        hits, total, wrong = [0, 0], [0, 0], 0
        for half, name in enumerate(sorted(p.stem for p in altered)):
            copy = f"{name}__{number}"
            if copy in some:
                group = next((g for g in groups if copy in g), [])
                total[half % 2] += 1
                hits[half % 2] += any(same.get(member) == same[name] for member in group)
                wrong += sum(same[member.split("__")[0]] != same[name] for member in group)
        print(f"| {kind} | {hits[0]} of {total[0]} | {hits[1]} of {total[1]} | {wrong} |")


def report_labelled(originals: dict[str, bytes], labelled: list[str]) -> None:
    """Print which pairs of the originals are copies, with every pair compared and through the index."""
    pictures = {n: FingerprintPictures.of(decode_fingerprint(code)) for n, code in originals.items()}
    names = sorted(originals)
    found: list[tuple[str, str]] = []
    pairs = 0
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            alike = align(pictures[one], pictures[other])
            pairs += 1
            if alike is not None and is_copy(alike):
                found.append((one, other))
    true = sum(one in labelled and other in labelled for one, other in found)
    print(f"{pairs} pairs of originals: {true} labelled pairs found, {len(found) - true} others")
    print("groups:", near_duplicates(FingerprintRow(n, n, code) for n, code in originals.items()))


def cost(videos: Path) -> None:
    """Print the CPU seconds of decoding with and without fingerprints, and the bytes of these."""
    paths = [str(p) for p in sorted(videos.iterdir()) if p.suffix.lower() != ".csv"]
    sizes: list[int] = []
    seconds = {False: 0.0, True: 0.0}
    for wanted in (False, True, True, False):
        config = MEDIA.model_copy(update={"fingerprint": wanted})
        with DecodeProcess(config) as decoder:
            decoder.start()
            before = child_cpu_s(decoder)
            for video in decoder.decode_many(paths):
                if not isinstance(video, Exception) and video.fingerprint is not None:
                    sizes.append(len(video.fingerprint))
            seconds[wanted] += (child_cpu_s(decoder) - before) / 2
    without, with_it = (1e3 * seconds[wanted] / len(paths) for wanted in (False, True))
    print(f"CPU ms per clip: {without:.0f} without, {with_it:.0f} with")
    print(f"bytes: mean {np.mean(sizes):,.0f}, median {np.median(sizes):,.0f}, most {max(sizes):,}")


def child_cpu_s(decoder: DecodeProcess) -> float:
    """Return the CPU seconds that the decoding process has used."""
    fields = Path(f"/proc/{decoder.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def scale(videos: Path, counts: list[int], verified: int) -> None:
    """Print what grouping costs, and what is found of planted pairs among so many videos."""
    clips = sorted(p for p in videos.iterdir() if p.suffix.lower() != ".csv")
    codes = fingerprints(clips)
    real = [decode_fingerprint(code) for code in codes.values()]
    recordings = ["neardup" if name.startswith("neardup") else name for name in codes]
    print(
        "| videos | candidates, CPU s | pairs compared per video | ms per pair | in all, CPU s | peak MB | "
        "planted crops found | other pairs, of one recording | false pairs |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for count in counts:
        # A process each, of which the peak memory is that of one size.
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            print(pool.submit(scale_line, real, recordings, count, verified).result(), flush=True)


def scale_line(real: list[npt.NDArray[np.uint8]], recordings: list[str], count: int, verified: int) -> str:
    """Return the line of one size.

    Candidates of all videos are looked up; those of a sample are verified, by the rules of `near_duplicates`,
    and their cost is scaled up. The sample begins with pairs of which one is a crop of the other.
    """
    planted = min(PLANTED, count // 4)
    codes = lru_cache(HELD_FINGERPRINTS)(lambda row: invented(real, row, planted))
    means = np.zeros((count, GRID * GRID), np.float16)
    for row in range(count):
        means[row] = mean_picture(real, row, planted).reshape(-1)
    begun = time.process_time()
    found = list(candidate_pairs(means, np.arange(count)))
    looked_up_s = time.process_time() - begun
    one, other, likeness = (np.concatenate([part[n] for part in found]) for n in range(3))
    mirrored = np.repeat([part[3] for part in found], [len(part[0]) for part in found])
    mine = np.flatnonzero(one < min(count, verified))
    order = mine[np.lexsort((other[mine], one[mine], mirrored[mine], -likeness[mine]))]
    failures: Counter[tuple[int, bool]] = Counter()
    copies: set[tuple[int, int]] = set()
    compared, verified_s = 0, 0.0
    columns = (one[order].tolist(), other[order].tolist(), mirrored[order].tolist())
    for a, b, flipped in zip(*columns, strict=True):
        if failures[a, flipped] >= MAX_FAILURES or (min(a, b), max(a, b)) in copies:
            continue
        pair = codes(a), codes(b)
        begun = time.process_time()
        pictures, others = (FingerprintPictures.of(decode_fingerprint(code)) for code in pair)
        alike = align(pictures, others.mirrored if flipped else others)
        verified_s += time.process_time() - begun
        compared += 1
        is_found = alike is not None and is_copy(alike)
        failures[a, flipped] = 0 if is_found else failures[a, flipped] + 1
        if is_found:
            copies.add((min(a, b), max(a, b)))
    scale_up = count / min(count, verified)
    hits = sum((2 * n, 2 * n + 1) in copies for n in range(planted))
    others = [pair for pair in copies if pair[1] >= 2 * planted or pair[0] // 2 != pair[1] // 2]
    shared = sum(bool(parts_of(a, planted, recordings) & parts_of(b, planted, recordings)) for a, b in others)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| {count:,} | {looked_up_s:,.0f} | {compared / min(count, verified):.1f} | "
        f"{1e3 * verified_s / compared:.1f} | {looked_up_s + scale_up * verified_s:,.0f} | {peak:,.0f} | "
        f"{hits} of {planted} | {shared} | {len(others) - shared} |"
    )


def parts_of(row: int, planted: int, recordings: list[str]) -> set[str]:
    """Return the recordings that an invented video is made of."""
    seed = row - row % 2 if row < 2 * planted else row
    return {recordings[clip] for clip in np.random.default_rng(seed).integers(len(recordings), size=2)}


def invented(real: list[npt.NDArray[np.uint8]], row: int, planted: int) -> bytes:
    """Return the fingerprint of a video that does not exist: two real ones, cropped, turned and blended.

    The odd one of each of the first `planted` pairs is a crop of the even one.
    """
    if row < 2 * planted and row % 2:
        return cropped(invented(real, row - 1, planted), np.random.default_rng([row, 1]))
    blend, windows = recipe(real, row)
    first, second = (turned(resized(real[clip][rows], *rect), turn) for clip, rows, rect, turn in windows)
    return enlarged(first * blend + second * (1 - blend))


def mean_picture(real: list[npt.NDArray[np.uint8]], row: int, planted: int) -> npt.NDArray[np.float32]:
    """Return the mean picture of an invented video, without its fingerprint where that is not needed."""
    if row < 2 * planted:
        return decode_fingerprint(invented(real, row, planted)).mean(axis=0)
    blend, windows = recipe(real, row)
    # Cropping and blending are linear. What is lost is the rounding to levels.
    means = (np.bincount(rows, minlength=len(real[clip])) / len(rows) for clip, rows, _, _ in windows)
    first, second = (
        turned(resized(np.tensordot(share, real[clip], 1)[None], *rect), turn)
        for share, (clip, _, rect, turn) in zip(means, windows, strict=True)
    )
    return (first * blend + second * (1 - blend))[0]


def recipe(
    real: list[npt.NDArray[np.uint8]], row: int
) -> tuple[float, list[tuple[int, npt.NDArray[np.int64], tuple[float, ...], tuple[int, int]]]]:
    """Return the share of the first of two parts, and of each clip, pictures, crop and turn."""
    rng = np.random.default_rng(row)
    clips = rng.integers(len(real), size=2)
    length = int(rng.integers(12, 65))
    windows = []
    for clip in clips:
        share = rng.uniform(0.35, 0.7, 2)
        corner = rng.uniform(0, 1 - share)
        rect = tuple(float(v) for c, s in zip(corner, share, strict=True) for v in (c, c + s))
        turn = (int(rng.choice([1, -1])), int(rng.choice([1, -1])))
        start = int(rng.integers(len(real[clip])))
        windows.append((int(clip), (start + np.arange(length)) % len(real[clip]), rect, turn))
    return float(rng.uniform(0.3, 0.7)), windows


def turned(pictures: npt.NDArray[np.float32], turn: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return pictures upside down or mirrored where a turn is -1."""
    return pictures[:, :: turn[0], :: turn[1]]


def cropped(code: bytes, rng: np.random.Generator) -> bytes:
    """Return the fingerprint of the same video without up to 12 % at each edge and with noise."""
    low, high = rng.uniform(0, 0.12, 2), 1 - rng.uniform(0, 0.12, 2)
    pictures = resized(decode_fingerprint(code), low[0], high[0], low[1], high[1])
    noisy = np.clip(pictures + rng.normal(0, 0.4, pictures.shape), 0, LEVELS - 1)
    return enlarged(noisy.astype(np.float32))


def resized(
    pictures: npt.NDArray[np.generic], top: float, bottom: float, left: float, right: float
) -> npt.NDArray[np.float32]:
    """Return a part of pictures at their full size."""
    rows, columns = (
        area_weights(top * GRID, bottom * GRID, GRID, GRID),
        area_weights(left * GRID, right * GRID, GRID, GRID),
    )
    return (rows @ pictures.astype(np.float32) @ columns.T).astype(np.float32)


def enlarged(pictures: npt.NDArray[np.floating]) -> bytes:
    """Return the fingerprint of pictures, by way of thumbnails."""
    times = THUMBNAIL_PX // GRID
    pixels = np.clip(pictures * (256 / LEVELS), 0, 255).astype(np.uint8)
    return encode_fingerprint(pixels.repeat(times, axis=1).repeat(times, axis=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["quality", "cost", "scale"])
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("near-duplicates-work"))
    parser.add_argument("--count", type=int, nargs="+", default=[10_000])
    parser.add_argument("--verified", type=int, default=2_000, help="videos whose candidates are compared")
    given = parser.parse_args()
    if given.what == "quality":
        quality(given.videos, given.work)
    elif given.what == "cost":
        cost(given.videos)
    else:
        scale(given.videos, given.count, given.verified)
