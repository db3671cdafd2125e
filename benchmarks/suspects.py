"""Detection of abnormal shoppers on planted attacks: average precision and false positives.

Run as `OMP_NUM_THREADS=1 python benchmarks/suspects.py DATA`, where DATA is the folder of the public sets.
The weights and the threshold of the score were chosen with --tune, on five attacks (click_farm, bandwagon,
obfuscated, ring, hired) in MovieLens-100k, Beauty and MicroLens-50k; the part `promotion` was fitted on
random, average, bandwagon, segment and click_farm. Without, it reports attacks, draws and sets that had no
part in either; --attacks and --sets choose others.

Fake shoppers are disguised: each takes the times, kinds of events and watched shares of a real shopper, so
that they differ from real ones by their videos and by nothing that our generators happen to do. `lockstep`
also moves a ring's events into the same hours. The comparison is an isolation
forest over how a shopper's videos go together.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.metrics import average_precision_score

from vrec.core.compute import pc
from vrec.core.schema import EVENTS, TIMESTAMP, conform
from vrec.events.datasets import kuairand_pure, microlens_50k, movielens_100k
from vrec.events.plain_files import read_lists, read_pairs
from vrec.robustness.attacks.groups import GROUPS
from vrec.robustness.attacks.model_aware import plan_attack
from vrec.robustness.attacks.profiles import AttackPlan, FakeProfiles
from vrec.robustness.behavior.config import SuspectsConfig
from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.behavior.suspects import SuspicionParts, suspicion_parts
from vrec.robustness.watched import WatchedVideos

TUNED = ("click_farm", "bandwagon", "obfuscated", "ring", "hired")
UNSEEN = ("reverse", "love_hate", "aware_item_knn", "lockstep", "copies", "campaign", "slow")
TUNE_SETS = ("ml100k", "beauty5", "microlens50k")
TEST_SETS = ("kuairand", "lastfm", "sport")
PAIR_FILES = {"lastfm": "lastfm_social/ratings.txt", "sport": "disencdr/sport_phone_train.txt"}
TUNE_SEEDS, TEST_SEEDS = (0, 1), (30, 31, 32, 33, 34)
RATES = (0.01, 0.05)
SHOPPERS = 2000
HEAVY_SHARE = 0.01
LOCKSTEP_US = 6 * 3_600_000_000


@dataclass(frozen=True)
class RealLog:
    """Log of a public set, or of some of its shoppers."""

    name: str
    events: pa.Table
    videos: pa.Table | None
    has_clock: bool


@dataclass(frozen=True)
class PlantedCase:
    """Log with fake shoppers."""

    attack: str
    rate: float
    parts: SuspicionParts
    is_fake: np.ndarray
    is_heavy: np.ndarray
    seconds: float


def read(folder: Path, name: str, seed: int) -> RealLog:
    """Return at most SHOPPERS shoppers of a public set, drawn at random."""
    readers = {"ml100k": movielens_100k, "kuairand": kuairand_pure, "microlens50k": microlens_50k}
    if name in PAIR_FILES:
        data = read_pairs(folder / PAIR_FILES[name])
    else:
        data = read_lists(folder / "beauty5" / "inter.json") if name == "beauty5" else readers[name](folder)
    users = pc.unique(data.events["user_id"])
    drawn = np.random.default_rng(seed).permutation(len(users))[:SHOPPERS]
    events = data.events.filter(pc.is_in(data.events["user_id"], value_set=users.take(pa.array(drawn))))
    return RealLog(name, conform(events, EVENTS, stage="read"), data.videos, data.has_timestamps)


def plant(real: RealLog, log: BehaviorLog, attack: str, rate: float, rng: np.random.Generator) -> pa.Table:
    """Return EVENTS of fake shoppers in disguise, with ids that sort among those of real ones."""
    watched = WatchedVideos(log.shoppers, log.videos, log.watched, int(log.at.min()), int(log.at.max()))
    tail = np.argsort(watched.counts, kind="stable")[: max(1, round(0.3 * len(watched.videos)))]
    target = watched.videos[int(rng.choice(tail))].as_py()
    plan = AttackPlan(watched, target, max(3, round(rate * len(watched.shoppers))), rng)
    group = "ring" if attack == "lockstep" else attack
    profiles = GROUPS[group](plan) if group in GROUPS else plan_attack(attack, plan)
    tables = [
        _disguise(log, profiles, account, rng, lockstep=attack == "lockstep")
        for account in range(len(profiles.fillers))
    ]
    return conform(pa.concat_tables(tables), EVENTS, stage="plant")


def _disguise(
    log: BehaviorLog, profiles: FakeProfiles, account: int, rng: np.random.Generator, *, lockstep: bool
) -> pa.Table:
    """Return EVENTS of one fake shopper: those of a real one with the videos of the profile."""
    names = log.videos.to_pylist()
    shared = profiles.promotes and profiles.shares_target
    own = [names[column] for column in profiles.fillers[account]]
    own = [str(name) for name in rng.permutation([*own, profiles.target] if shared else own)]
    lengths = log.lengths
    near = np.argsort(np.abs(lengths - len(own)) + rng.random(len(lengths)), kind="stable")[:50]
    donor = int(rng.choice(near))
    rows = np.flatnonzero(log.user == donor)
    chosen = rows[log.chosen[rows]]
    theirs = list(dict.fromkeys(log.video[chosen].tolist()))
    videos: dict[int, str] = dict(zip(theirs, own, strict=False))
    user = f"{log.shoppers[int(rng.integers(len(log.shoppers)))].as_py()}x{account}"
    shift = int(rng.integers(-log.span_us // 10, log.span_us // 10 + 1)) if log.has_clock else 0
    records = []
    for row in rows.tolist():
        video = videos.get(int(log.video[row]))
        if log.chosen[row] and video is None:
            continue  # the donor has more videos
        records.append(
            (video or names[log.video[row]], log.kinds[row].as_py(), int(log.at[row]) + shift, row)
        )
    missing = own[len(theirs) :]
    for place, video in enumerate(missing):  # the donor has fewer videos: the times of its last ones again
        row = int(chosen[place % len(chosen)])
        records.append(
            (video, log.kinds[row].as_py(), int(log.at[row]) + shift + 30_000_000 * (place + 1), row)
        )
    if profiles.promotes and profiles.loves > 1:
        at = next(record for record in records if record[0] == profiles.target)
        later = np.cumsum(rng.integers(60, 600, profiles.loves - 1)) * (1_000_000 if log.has_clock else 1)
        records += [(profiles.target, at[1], at[2] + int(extra), at[3]) for extra in later]
    if not profiles.promotes:
        records.append((profiles.target, "dislike", records[-1][2] + 1_000_000, -1))
    place = {name: number for number, name in enumerate(names)}
    first, span = int(log.at.min()), max(log.span_us, 1)
    rows_out = []
    for number, (video, kind, time_us, row) in enumerate(records):
        value = None if row < 0 or np.isnan(log.value[row]) else float(log.value[row])
        if value is not None and kind == "watch" and video in place:
            ratio = log.duration[place[video]] / log.duration[log.video[row]]
            value *= float(ratio) if np.isfinite(ratio) else 1.0
        if lockstep and video in names:
            hour = (place[video] * 2_654_435_761 % span) // LOCKSTEP_US * LOCKSTEP_US
            moved = first + int(hour) + int(rng.integers(LOCKSTEP_US))
        else:
            moved = time_us
        rows_out.append((f"{user}-{number}", user, video, kind, value, min(max(moved, first), first + span)))
    ids, users, videos_, kinds, values, times = zip(*rows_out, strict=True)
    columns = {
        "event_id": pa.array(ids),
        "user_id": pa.array(users),
        "video_id": pa.array(videos_),
        "kind": pa.array(kinds),
        "value": pa.array(values, pa.float32()),
        "domain": pa.array(["shop"] * len(ids)),
        "at": pa.array(times, pa.int64()).cast(TIMESTAMP),
    }
    return conform(pa.table(columns), EVENTS, stage="plant")


def cases(
    folder: Path, sets: Sequence[str], seeds: Sequence[int], attacks: Sequence[str], rates: Sequence[float]
) -> Iterator[tuple[str, PlantedCase]]:
    """Yield planted attacks with what the detector measures."""
    for name in sets:
        for seed in seeds:
            real = read(folder, name, seed)
            log = BehaviorLog.from_events(real.events, real.videos, has_clock=real.has_clock)
            yield name, measure(real, real.events, real.events.slice(0, 0), "none", 0.0)
            for rate in rates:
                for attack in attacks:
                    if attack == "lockstep" and not real.has_clock:
                        continue
                    rng = np.random.default_rng([seed, round(rate * 1000), len(attack)])
                    fakes = plant(real, log, attack, rate, rng)
                    yield name, measure(real, pa.concat_tables([real.events, fakes]), fakes, attack, rate)


def measure(real: RealLog, events: pa.Table, fakes: pa.Table, attack: str, rate: float) -> PlantedCase:
    """Return the parts of the suspicion of all shoppers of EVENTS, of whom some are fake."""
    begun = time.process_time()
    log = BehaviorLog.from_events(events, real.videos, has_clock=real.has_clock)
    parts = suspicion_parts(log)
    seconds = time.process_time() - begun
    is_fake = np.asarray(pc.is_in(log.shoppers, value_set=pc.unique(fakes["user_id"])))
    honest = np.where(is_fake, -1, log.lengths)
    is_heavy = np.zeros(len(honest), bool)
    is_heavy[np.argsort(-honest, kind="stable")[: max(1, round(HEAVY_SHARE * (~is_fake).sum()))]] = True
    return PlantedCase(attack, rate, parts, is_fake, is_heavy, seconds)


def report(planted: Sequence[tuple[str, PlantedCase]], config: SuspectsConfig) -> None:
    """Print average precision by set and attack, and false positives by set."""
    precision: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    false: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for name, case in planted:
        scores = case.parts.scores()
        suspect = scores >= config.score
        honest, heavy = suspect[~case.is_fake].mean(), suspect[case.is_heavy].mean()
        if case.attack == "none":
            print(f"{name} without an attack: {honest:.2%} are suspects, {heavy:.2%} of the heaviest 1 %")
            continue
        alone = average_precision_score(case.is_fake, case.parts.parts["taste"])
        own = average_precision_score(case.is_fake, scores)
        found = suspect[case.is_fake].mean()
        precision[name, case.attack].append([case.rate, own, alone, found])
        false[name].append((honest, heavy, found, case.seconds))
    print("| set | attack | AP by rate | isolation forest of taste | found by rate |")
    print("|---|---|---|---|---|")
    for (name, attack), rows in precision.items():
        table = np.array(rows)
        cells = [
            ", ".join(f"{table[table[:, 0] == rate, column].mean():.2f}" for rate in np.unique(table[:, 0]))
            for column in (1, 2, 3)
        ]
        print(f"| {name} | {attack} | {' | '.join(cells)} |")
    for name, rows in false.items():
        honest, heavy, found, seconds = np.mean(rows, axis=0)
        print(
            f"{name}: {honest:.2%} of honest shoppers are suspects, {heavy:.2%} of the heaviest 1 %, "
            f"{found:.0%} of the fakes; {seconds:.1f} CPU s a log"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--sets", nargs="*", choices=(*TUNE_SETS, *TEST_SETS))
    parser.add_argument("--attacks", nargs="*", choices=(*TUNED, *UNSEEN))
    parser.add_argument("--rates", nargs="*", type=float, default=RATES)
    parser.add_argument("--seeds", nargs="*", type=int)
    parser.add_argument("--score", type=float, default=SuspectsConfig().score)
    given = parser.parse_args()
    sets = given.sets or (TUNE_SETS if given.tune else TEST_SETS)
    seeds, attacks = (TUNE_SEEDS, TUNED) if given.tune else (TEST_SEEDS, UNSEEN)
    planted = []
    for name, case in cases(given.data, sets, given.seeds or seeds, given.attacks or attacks, given.rates):
        print(f"{name} {case.attack} {case.rate:.0%}: {case.seconds:.1f} CPU s", file=sys.stderr, flush=True)
        planted.append((name, case))
    report(planted, SuspectsConfig(score=given.score))


if __name__ == "__main__":
    main()
