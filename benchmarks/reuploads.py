"""Re-uploads of a video under a new id: how many are found, and how many others are taken for one.

`python benchmarks/reuploads.py copies --videos FOLDER --work DIR` makes the altered copies of every clip with
ffmpeg, and `… measure --videos FOLDER --work DIR` looks each of them up among all originals, as the service
does with an upload. Thresholds in `vrec/media/duplicates/alignment.py` were chosen on the even half of the
clips. Clips named `neardup_*` are one recording, of which one is used.

False alarms are counted over all pairs of originals, each as it is and mirrored, and beside it over pairs
that have more in common than unrelated videos have: other seconds of one clip. The baseline is a difference
hash of the mean picture (Krawetz 2013), with the largest threshold that joins no two originals of the even
half."""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from near_duplicates import fingerprints

from vrec.media.duplicates.alignment import FingerprintPictures, align, is_copy
from vrec.media.duplicates.fingerprint import GRID, decode_fingerprint
from vrec.media.duplicates.lookup import CopyIndex

LOGO = "drawbox=x=iw*0.75:y=ih*0.05:w=iw*0.2:h=ih*0.2:color=red:t=fill"
KINDS: dict[str, tuple[str, int]] = {
    "re-encoded, small": ("scale=iw*0.7:-2", 36),
    "mirrored": ("hflip", 26),
    "crop, 5 % a side": ("crop=iw*0.9:ih*0.9", 26),
    "crop, 10 % a side": ("crop=iw*0.8:ih*0.8", 26),
    "crop, one corner": ("crop=iw*0.82:ih*0.9:iw*0.18:ih*0.02", 26),
    "border": ("pad=iw*1.2:ih*1.2:(ow-iw)/2:(oh-ih)/2:white", 26),
    "letterbox": ("pad=iw:ih*1.34:0:(oh-ih)/2:black", 26),
    "logo, 4 %": (LOGO, 26),
    "logo, 10 %": ("drawbox=x=iw*0.1:y=ih*0.1:w=iw*0.35:h=ih*0.3:color=blue:t=fill", 26),
    "speed 1.1": ("setpts=PTS/1.1", 26),
    "speed 1.25": ("setpts=PTS/1.25", 26),
    "speed 0.8": ("setpts=PTS/0.8", 26),
    "mirrored, cropped, logo, speed 1.1": (
        f"hflip,crop=iw*0.92:ih*0.92,{LOGO},setpts=PTS/1.1",
        30,
    ),
}
"""Filter and constant rate factor of each kind of copy."""


def main() -> None:
    """Make the copies, or measure what is found of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["copies", "measure"])
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("reuploads-work"))
    parser.add_argument("--half", type=int, choices=[0, 1], help="only every second clip, from this one on")
    given = parser.parse_args()
    clips = sorted(p for p in given.videos.iterdir() if p.suffix.lower() != ".csv")
    labelled = [p for p in clips if p.stem.startswith("neardup")]
    clips = [p for p in clips if p not in labelled[:-1]]
    if given.what == "copies":
        make_copies(clips if given.half is None else clips[given.half :: 2], given.work)
    else:
        measure(clips, given.work, [0, 1] if given.half is None else [given.half])


def make_copies(clips: list[Path], work: Path) -> None:
    """Write every kind of copy of the clips; those that exist stay."""
    (work / "copies").mkdir(parents=True, exist_ok=True)
    for clip in clips:
        outs = [work / "copies" / f"{clip.stem}__{number}.mp4" for number in range(len(KINDS))]
        if all(out.exists() for out in outs):
            continue
        # Read once, and altered in every way at the same time.
        branches = "".join(f"[a{number}]" for number in range(len(KINDS)))
        graph = [f"[0:v]fps=12,scale='trunc(min(384,iw)/2)*2':-2,split={len(KINDS)}{branches}"]
        words = ["ffmpeg", "-v", "error", "-y", "-nostdin", "-threads", "1", "-t", "21", "-i", str(clip)]
        targets: list[str] = []
        for number, (out, (chain, crf)) in enumerate(zip(outs, KINDS.values(), strict=True)):
            graph.append(f"[a{number}]{chain},scale=trunc(iw/2)*2:trunc(ih/2)*2[b{number}]")
            targets += ["-map", f"[b{number}]", "-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]
            targets += ["-pix_fmt", "yuv420p", "-crf", str(crf), str(out)]
        subprocess.run([*words, "-filter_complex", ";".join(graph), *targets], check=True)


def measure(clips: list[Path], work: Path, halves: list[int]) -> None:
    """Print what is found of every kind of copy by half of the clips, and false alarms."""
    originals = cached(work / "originals.parquet", clips)
    names = [clip.stem for clip in clips if clip.stem in originals]
    copies = cached(work / "copies.parquet", sorted((work / "copies").glob("*.mp4")))
    index = CopyIndex(names, [originals[name] for name in names])
    limit = hash_limit([originals[name] for name in names[::2]])
    hashes = np.stack([difference_hash(originals[name]) for name in names])
    print(
        f"| copies | {' | '.join(f'found, half {half} | by hash' for half in halves)} | taken for another |"
    )
    print("|---" * (2 + 2 * len(halves)) + "|")
    totals = np.zeros((2, 3), np.int64)
    for number, kind in enumerate(KINDS):
        counts, wrong = np.zeros((2, 3), np.int64), 0
        for row, name in enumerate(names):
            copy = copies.get(f"{name}__{number}")
            if row % 2 not in halves or copy is None:
                continue
            match = index.find(copy)
            near = np.count_nonzero(hashes != difference_hash(copy), axis=1)
            by_hash = near[row] <= limit and near.argmin() == row
            counts[row % 2] += (match is not None and match.video_id == name, by_hash, 1)
            wrong += match is not None and match.video_id != name
        totals += counts
        cells = [f"{counts[half][0]} of {counts[half][2]} | {counts[half][1]}" for half in halves]
        print(f"| {kind} | {' | '.join(cells)} | {wrong} |", flush=True)
    shares = [
        f"{totals[half][0] / totals[half][2]:.3f} | {totals[half][1] / totals[half][2]:.3f}"
        for half in halves
    ]
    print(f"| all | {' | '.join(shares)} | |")
    for half in halves:
        report_false_alarms([originals[name] for name in names[half::2]], f"half {half}")
    if len(halves) == 2:
        report_false_alarms([originals[name] for name in names], "all")


def report_false_alarms(codes: list[bytes], which: str) -> None:
    """Print how many pairs of originals, and of other seconds of one clip, are taken for copies."""
    pictures = [FingerprintPictures.of(decode_fingerprint(code)) for code in codes]
    pairs = wrong = 0
    for row, one in enumerate(pictures):
        for other in pictures[row + 1 :]:
            pairs += 1
            wrong += is_pair(one, other) or is_pair(one, other.mirrored)
    print(
        f"{which}: {wrong} of {pairs:,} pairs of unrelated originals taken for copies ({wrong / pairs:.3%})"
    )
    same = list(other_seconds(codes))
    wrong = sum(is_pair(one, other) for one, other in same)
    print(f"{which}: {wrong} of {len(same)} pairs of other seconds of one clip taken for copies")


def is_pair(one: FingerprintPictures, other: FingerprintPictures) -> bool:
    """Return whether two videos count as copies."""
    found = align(one, other)
    return found is not None and is_copy(found)


def other_seconds(codes: list[bytes]) -> Iterator[tuple[FingerprintPictures, FingerprintPictures]]:
    """Yield the first and the second half of each video of 6 seconds or more, as two videos."""
    for code in codes:
        pictures = decode_fingerprint(code)
        if len(pictures) >= 24:
            middle = len(pictures) // 2
            yield FingerprintPictures.of(pictures[:middle]), FingerprintPictures.of(pictures[middle:])


def difference_hash(code: bytes) -> npt.NDArray[np.bool_]:
    """Return 112 bits: whether each cell of the mean picture, made coarser, is brighter than the next."""
    mean = decode_fingerprint(code).mean(axis=0)
    cells = mean.reshape(GRID // 2, 2, GRID // 2, 2).mean(axis=(1, 3))
    across, down = cells[:, 1:] > cells[:, :-1], cells[1:] > cells[:-1]
    return np.concatenate([across.ravel(), down.ravel()])


def hash_limit(codes: list[bytes]) -> int:
    """Return the largest distance of hashes at which no two of these videos are alike."""
    hashes = np.stack([difference_hash(code) for code in codes])
    distances = np.count_nonzero(hashes[:, None] != hashes[None], axis=2)
    return int(distances[np.triu_indices(len(codes), 1)].min()) - 1


def cached(file: Path, paths: list[Path]) -> dict[str, bytes]:
    """Return the fingerprints of videos by name, kept in a file of this benchmark's own."""
    known: dict[str, bytes] = {}
    if file.exists():
        names, codes = pq.read_table(file).columns
        known = dict(zip(names.to_pylist(), codes.to_pylist(), strict=True))
    missing = [path for path in paths if path.stem not in known]
    if missing:
        known |= fingerprints(missing)
        pq.write_table(pa.table({"name": list(known), "fingerprint": list(known.values())}), file)
    return known


if __name__ == "__main__":
    main()
