"""Moments: how often the right second is found, what they take, and what they cost.

`python benchmarks/moments.py drawn --seeds 1 2 3` draws videos with planted events (another product appears,
the color changes, a caption is shown, a sound is heard), and looks for each by a picture, by words, or by a
sound: in its own video, and over all videos of the seed. An answer is right if it is in that video and begins
within a second of the event. Beside it stand moments of equal length (of at most 4 s, and as many as the cuts
give), and the vector of the whole video, which can only name its middle. `… sweep` tries settings of cuts.
`… stitched --videos FOLDER` joins real clips by ffmpeg and looks for each by another encoding, and by a crop,
of two of its seconds: found if the moment is in the clip.
`… cost --videos FOLDER` compares CPU time with and without moments, and prints the bytes per minute.
`… index` times a search by the number of moments.
"""

import argparse
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from moment_films import SECONDS, DrawnVideo, PlantedEvent, draw
from scipy.stats import binomtest

from vrec.core.errors import VideoError
from vrec.encoders.build import EncodersConfig, build_encoders
from vrec.encoders.moments.config import MomentsConfig
from vrec.encoders.moments.encode import MomentEncoder
from vrec.encoders.moments.vectors import MomentVectors, quantize_rows, restore_rows
from vrec.encoders.vectors import unit_rows
from vrec.media.audio import RATE_HZ
from vrec.media.decode import MediaConfig, decode
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.moments.subtitles import Cue
from vrec.retrieval.index.moments import MomentIndex
from vrec.serving.moments.search import query_words, word_shares

EVEN = {"cut_change": 1e9, "sound_change": 1e9}
"""Settings without cuts: moments of equal length."""
GRID = {"cut_change": (6.0, 10.0, 15.0), "cut_ratio": (1.5, 2.5, 4.0), "sound_change": (5.0, 8.0, 12.0)}


class Benchmark:
    """Encoders, and the moments of videos under some settings."""

    def __init__(self) -> None:
        self.encoders = build_encoders(EncodersConfig())

    def moments(
        self, path: Path, cues: tuple[Cue, ...] = (), **settings: Any
    ) -> tuple[Mapping[str, MomentVectors], DecodedMoments]:
        config = MomentsConfig(**settings)
        decoded = decode(path, MediaConfig(moments=config.spans()), cues).moments
        assert decoded is not None
        made = MomentEncoder(self.encoders, config).encode(path.stem, decoded)
        return {str(modality): found for modality, found in made.items()}, decoded

    def query(self, **parts: Any) -> Mapping[str, MomentVectors]:
        config = MomentsConfig()
        return {
            str(m): v
            for m, v in MomentEncoder(self.encoders, config).encode("q", DecodedMoments(**parts)).items()
        }


def find(
    asked: Mapping[str, MomentVectors],
    known: Sequence[Mapping[str, MomentVectors]],
    modality: str,
    words: str | None,
) -> tuple[int, float, float]:
    """Return the best moment over all videos: its video, start and end."""
    best = (-2.0, 0, 0.0, 0.0)
    for number, made in enumerate(known):
        if modality not in made:
            continue
        held = made[modality]
        scores = (restore_rows(*quantize_rows(held.rows)) @ asked[modality].rows.T).max(axis=1)
        if words is not None:
            shares = word_shares([text or "" for text in held.texts], query_words(words))
            scores = (np.array(shares) + np.maximum(scores, 0)) / 2
        row = int(scores.argmax())
        best = max(best, (float(scores[row]), number, float(held.spans[row, 0]), float(held.spans[row, 1])))
    return best[1:]


def _whole(made: Mapping[str, MomentVectors]) -> Mapping[str, MomentVectors]:
    """One vector for each modality of a video, in the middle of it."""
    middle = np.array([[SECONDS / 2, SECONDS / 2]])
    return {
        modality: MomentVectors(
            middle, unit_rows(held.rows.mean(axis=0, keepdims=True)), (" ".join(t or "" for t in held.texts),)
        )
        for modality, held in made.items()
    }


def _as_many(
    bench: Benchmark, film: DrawnVideo, cuts: Mapping[str, MomentVectors]
) -> Mapping[str, MomentVectors]:
    """Moments of equal length, as many as the cuts give in each modality."""
    made = dict(cuts)
    for modality in ("frames", "audio"):
        longest = max(1.0, SECONDS / len(cuts[modality].rows))
        made[modality] = bench.moments(film.path, (), max_s=longest, **EVEN)[0][modality]
    return made


@dataclass(frozen=True)
class Search:
    """Result of the search for one event in one way."""

    film: int
    kind: str
    own: bool
    """Whether the answer is right among the moments of the event's own video."""
    all: bool
    """Whether it is among those of all videos."""
    apart: bool
    """Whether it is among those of all videos but the others that show the wanted class all the time."""
    same_class: bool
    """Whether the answer over all is in another video, and that one shows the wanted class all the time."""


def searches(
    bench: Benchmark, films: Sequence[DrawnVideo], known: Sequence[Mapping[str, MomentVectors]]
) -> list[Search]:
    """Look for every event of the films over their moments in one way."""
    found: list[Search] = []
    for number, film in enumerate(films):
        for event in film.events:
            modality, asked = _asked(bench, event)
            same = [n != number and other.category == event.category for n, other in enumerate(films)]
            apart = [{} if same[n] else made for n, made in enumerate(known)]
            _, start_s, _ = find(asked, [known[number]], modality, event.words)
            right = abs(start_s - event.at_s) <= 1
            video, start_s, _ = find(asked, known, modality, event.words)
            right_of_all = video == number and abs(start_s - event.at_s) <= 1
            first, start_s, _ = find(asked, apart, modality, event.words)
            right_apart = first == number and abs(start_s - event.at_s) <= 1
            found.append(Search(number, event.kind, right, right_of_all, right_apart, same[video]))
    return found


def _asked(bench: Benchmark, event: PlantedEvent) -> tuple[str, Mapping[str, MomentVectors]]:
    if event.picture is not None:
        return "frames", bench.query(spans=np.zeros((1, 2)), frames=event.picture)
    if event.sound is not None:
        span = np.array([[0.0, len(event.sound) / RATE_HZ]])
        return "audio", bench.query(sound_spans=span, sound=event.sound)
    assert event.words is not None
    return "text", bench.query(cues=(Cue(0, 1, event.words),))


def drawn(seeds: list[int], count: int) -> None:
    bench, found = Benchmark(), defaultdict[str, list[list[Search]]](list)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            films = draw(seed, count, Path(folder))
            known = [bench.moments(film.path, film.cues)[0] for film in films]
            even = [bench.moments(film.path, film.cues, **EVEN)[0] for film in films]
            ways = {
                "cuts": known,
                "4 s": even,
                "as many": [_as_many(bench, *pair) for pair in zip(films, known, strict=True)],
                "whole": [_whole(made) for made in even],
            }
            for way, made in ways.items():
                found[way].append(searches(bench, films, made))
                _print(f"seed {seed} {way}", found[way][-1])
    for way, by_seed in found.items():
        of_all = [one for some in by_seed for one in some]
        _print(f"all seeds {way}", of_all, intervals=True)
        wrong = [one for one in of_all if one.kind == "object" and not one.all]
        same = sum(one.same_class for one in wrong)
        apart = np.mean([one.apart for one in of_all if one.kind == "object"])
        print(
            f"  object over all videos: {len(wrong)} wrong, {same} in another "
            f"video of its class; without those right: {apart:.2f}"
        )
        if way != "cuts":
            for scope in ("own", "all"):
                print(f"  cuts' lead, {scope}: {_lead(found['cuts'], by_seed, scope)}")


def _print(name: str, found: Sequence[Search], *, intervals: bool = False) -> None:
    for scope in ("own", "all"):
        cells = []
        for kind in ("caption", "color", "object", "sound"):
            hits = [getattr(one, scope) for one in found if one.kind == kind]
            between = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
            cells.append(
                f"{kind} {np.mean(hits):.2f}" + (f" [{between.low:.2f}, {between.high:.2f}]" * intervals)
            )
        mean = np.mean([getattr(one, scope) for one in found])
        print(f"{name:20s} {scope}: {'  '.join(cells)}  mean {mean:.3f}", flush=True)


def _lead(cuts: Sequence[Sequence[Search]], other: Sequence[Sequence[Search]], scope: str) -> str:
    """Return the difference of the mean recall, with a paired bootstrap over the videos."""
    leads = defaultdict[tuple[int, int], list[int]](list)
    for seed, (some, others) in enumerate(zip(cuts, other, strict=True)):
        for one, two in zip(some, others, strict=True):
            leads[seed, one.film].append(getattr(one, scope) - getattr(two, scope))
    means = np.array([np.mean(values) for values in leads.values()])
    drawn = np.random.default_rng(0).choice(means, (10_000, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{means.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def sweep(seed: int, count: int) -> None:
    """Print the mean recall by the settings of the cuts, each changed by itself."""
    bench = Benchmark()
    with tempfile.TemporaryDirectory() as folder:
        films = draw(seed, count, Path(folder))
        for settings in _grid():
            known = [bench.moments(film.path, film.cues, **settings)[0] for film in films]
            size = sum(len(made[m].rows) for made in known for m in ("frames", "audio"))
            _print(f"{settings} {size / len(films):.1f} moments", searches(bench, films, known))


def _grid() -> Iterator[dict[str, float]]:
    """Settings that differ from the middle ones in one place."""
    middle = {name: values[1] for name, values in GRID.items()}
    yield middle
    for name, values in GRID.items():
        for value in values[::2]:
            yield middle | {name: value}


def stitched(videos: Path, groups: int) -> None:
    bench, clips = Benchmark(), _usable(videos)
    rng = np.random.default_rng(3)
    order = [clips[n] for n in rng.permutation(len(clips))][: 5 * groups]
    with tempfile.TemporaryDirectory() as folder:
        known: list[Mapping[str, MomentVectors]] = []
        places: list[tuple[Path, int, float, float]] = []
        for group in range(len(order) // 5):
            parts, start_s = [], 0.0
            for number, clip in enumerate(order[5 * group : 5 * group + 5]):
                part, length_s = Path(folder) / f"{group}-{number}.mp4", float(rng.uniform(3, 6))
                _ffmpeg("-i", clip, "-t", f"{length_s:.2f}", *_form("", 26), part)
                length_s = decode(
                    part,
                    MediaConfig.model_validate({"quality": {"refuse_black": False, "refuse_frozen": False}}),
                ).duration_s
                parts.append(part)
                places.append((part, group, start_s, start_s + (length_s or 0)))
                start_s += length_s or 0
            listing = Path(folder) / "list.txt"
            listing.write_text("".join(f"file '{part}'\n" for part in parts))
            whole = Path(folder) / f"whole-{group}.mp4"
            _ffmpeg("-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", whole)
            known.append(bench.moments(whole)[0])
        for name, form in (
            ("another encoding", _form("scale=240:180,", 36)),
            ("crop", _form("crop=iw*0.75:ih*0.75,", 30)),
        ):
            found = 0
            for part, group, start_s, end_s in places:
                query = part.with_name("query.mp4")
                at = max(0.0, (end_s - start_s) / 2 - 1)
                _ffmpeg("-ss", f"{at:.2f}", "-i", part, "-t", "2", *form, query)
                asked = bench.moments(query)[0]
                video, first_s, last_s = find(asked, known, "frames", None)
                found += video == group and first_s < end_s - 0.25 and last_s > start_s + 0.25
            print(f"{name}: {found} of {len(places)} clips found ({found / len(places):.2f})", flush=True)


def _usable(videos: Path) -> list[Path]:
    """Clips of at least 2 s that decode; of the same recording only one."""
    found: list[Path] = []
    for path in sorted(videos.iterdir()):
        try:
            length_s = decode(path, MediaConfig.model_validate({"sample": {"frames": 2}})).duration_s or 0
        except VideoError:
            continue
        if (
            length_s >= 2 and not path.name.startswith("neardup_chair_0")
        ) or path.name == "neardup_chair_01.mp4":
            found.append(path)
    return found


def _form(filters: str, crf: int) -> list[str]:
    scale = f"{filters}scale=480:360,setsar=1,fps=25"
    return [
        *["-an", "-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-pix_fmt", "yuv420p"],
        "-crf",
        str(crf),
        "-vf",
        scale,
    ]


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def cost(videos: Path) -> None:
    bench, plain = Benchmark(), MediaConfig(fingerprint=True)
    with_moments = plain.model_copy(update={"moments": MomentsConfig().spans()})
    encoder = MomentEncoder(bench.encoders, MomentsConfig())
    spent = dict.fromkeys(("decode", "decode with moments", "encode moments"), 0.0)
    size, seconds, most = 0, 0.0, 0.0
    for path in _usable(videos):
        begun = time.process_time()
        decode(path, plain)
        middle = time.process_time()
        video = decode(path, with_moments)
        end = time.process_time()
        assert video.moments is not None
        made = encoder.encode(path.stem, video.moments)
        spent["encode moments"] += time.process_time() - end
        spent["decode"] += middle - begun
        spent["decode with moments"] += end - middle
        own = sum(held.table_bytes(len(path.stem)) for held in made.values())
        size, seconds = size + own, seconds + (video.duration_s or 0)
        most = max(most, own / (int((video.duration_s or 0) // 60) + 1))
    minutes = seconds / 60
    print(f"{minutes:.1f} minutes; bytes of moments per minute {size / minutes:,.0f}, at most {most:,.0f}")
    for name, value in spent.items():
        print(f"{name}: {value / minutes:.2f} CPU s a minute ({value / spent['decode']:.2f} of decoding)")


def index(videos: list[int]) -> None:
    rng, per_video, dim = np.random.default_rng(0), 8, 1280
    for known in videos:
        count = known * per_video
        codes = rng.integers(-90, 90, (count, dim), np.int8)
        made = MomentIndex(
            "cnn@1", tuple(f"v{n:07d}" for n in range(known)), np.arange(known + 1) * per_video,
            np.zeros((count, 2), np.float32), codes, np.full(count, 1 / 1900, np.float32), None,
        )  # fmt: skip
        query = unit_rows(rng.normal(size=(1, dim)))
        for share in (1.0, 0.1):
            allowed = rng.random(known) < share
            made.search(query, 20, allowed)
            times = []
            for _ in range(5):
                begun = time.perf_counter()
                made.search(query, 20, allowed)
                times.append(time.perf_counter() - begun)
            print(
                f"{known:,} videos, {count:,} moments, {codes.nbytes >> 20:,} MiB, {share:.0%} pass: "
                f"{np.median(times) * 1e3:.0f} ms (fastest {min(times) * 1e3:.0f})",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("drawn")
    one.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    one.add_argument("--count", type=int, default=20)
    tried = commands.add_parser("sweep")
    tried.add_argument("--seed", type=int, default=0)
    tried.add_argument("--count", type=int, default=20)
    for name in ("stitched", "cost"):
        command = commands.add_parser(name)
        command.add_argument("--videos", type=Path, required=True)
    commands.choices["stitched"].add_argument("--groups", type=int, default=10)
    commands.add_parser("index").add_argument(
        "--videos", type=int, nargs="+", default=[1_000, 5_000, 20_000, 80_000]
    )
    arguments = vars(parser.parse_args())
    run = {"drawn": drawn, "sweep": sweep, "stitched": stitched, "cost": cost, "index": index}
    run[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
