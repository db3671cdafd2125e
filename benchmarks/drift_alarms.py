"""Alarms about a model: false ones in clean months, and hours until a broken model is alarmed.

Run as `python benchmarks/drift_alarms.py [--months 6] [--shoppers 40] [--seed 1000]`. Months of simulated
shops (`vrec.synthetic.served_hours`) whose clicks vary between hours, at weekends and in a sale by more than
the model knows. For each month alarms are counted from the 169th hour on; then, from a random hour of a later
day, each fault in turn until it is alarmed, or for a week. Beside vrec's alarms: an alarm as soon as one
hour's figure is beyond the same limit. Settings were chosen on seeds below 100.
"""

import argparse
import copy
import time
from collections.abc import Sequence

import numpy as np
from harness import number_parser

from vrec.evaluation.health.alarms import AlarmState, HealthAlarms
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.synthetic.served_hours import Fault, ServedHours, ServedShop

LEAD, MONTH, WEEK = 168, 720, 168
FAULTS: dict[Fault, str] = {
    "shuffled": "order",
    "shifted": "clicks_above",
    "raised": "clicks_below",
    "collapsed": "coverage",
}
SHOPS = {
    "as usual": {},
    "restless": {"hour_spread": 0.25},
    "weak model": {"skill": 0.35},
    "sale of 1.4": {"sale_factor": 1.4},
}


def is_beyond(state: AlarmState) -> bool:
    """Return whether the last hour's figure is beyond the limit."""
    too_high = state.kind != "clicks_above"
    return state.value < state.limit if too_high else state.value > state.limit


def alarmed(alarms: HealthAlarms) -> set[str]:
    return {state.kind for state in alarms.states() if state.since is not None}


def clean_month(alarms: HealthAlarms, made: ServedHours) -> tuple[int, int]:
    """Return the alarms that a clean month raises, and the alarms of single hours beyond the limit."""
    raised, plain, before = 0, 0, set[str]()
    for _ in range(MONTH):
        alarms.add(made.next())
        now = alarmed(alarms)
        raised += len(now - before)
        plain += any(is_beyond(state) for state in alarms.states())
        before = now
    return raised, plain


def delay(alarms: HealthAlarms, made: ServedHours, fault: Fault) -> int | None:
    """Return the hours until the fault's own alarm; None if there is none in a week."""
    for hour in range(1, WEEK + 1):
        alarms.add(made.next(fault, bundle="broken"))
        if FAULTS[fault] in alarmed(alarms):
            return hour
    return None


def measure(shop: ServedShop, seeds: Sequence[int]) -> None:
    raised, plain, hours = 0, 0, dict[Fault, list[int | None]]()
    for seed in seeds:
        made, alarms = ServedHours(shop, seed), HealthAlarms(ModelHealthConfig())
        for _ in range(LEAD):
            alarms.add(made.next())
        month = clean_month(alarms, made)
        raised, plain = raised + month[0], plain + month[1]
        for _ in range(np.random.default_rng(seed).integers(24)):
            alarms.add(made.next())
        for fault in FAULTS:
            hours.setdefault(fault, []).append(delay(*copy.deepcopy((alarms, made)), fault))
    print(f"  {raised / len(seeds):.2f} false alarms a month, {plain / len(seeds):.1f} hours by single hours")
    for fault, delays in hours.items():
        found = sorted(one for one in delays if one is not None)
        text = f"median {np.median(found):.0f}, longest {found[-1]} hours" if found else "never"
        print(f"  {fault}: {text}; {len(found)} of {len(delays)} within a week", flush=True)


def main() -> None:
    parser: argparse.ArgumentParser = number_parser(__doc__ or "", months=6, shoppers=40, seed=1000)
    options = parser.parse_args()
    for name, changes in SHOPS.items():
        begun = time.process_time()
        print(f"{options.shoppers} shoppers an hour, {name}, {options.months} months")
        shop = ServedShop(shoppers=options.shoppers, **changes)
        measure(shop, range(options.seed, options.seed + options.months))
        print(f"  {time.process_time() - begun:.0f} s of CPU")


if __name__ == "__main__":
    main()
