"""Bugs to plant in a ranker: each breaks one clause of the protocol and no more than it must."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.core.artifact import read_artifact
from vrec.core.errors import VrecError
from vrec.core.schema import RANKED
from vrec.profiles.profile import Profile
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.testing.ranking_shop import NOVELTY, STRANGER


class Sound(RateBaselineRanker):
    """Smoothed rates."""


def changed(table: pa.Table, **columns) -> pa.Table:
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(
            place, table.schema.field(name), pa.array(values, table.schema.field(name).type)
        )
    return table


def numbers(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table.column(name)).copy()


class Bug(Sound):
    """A ranker whose answer is altered on its way out."""

    def score(self, candidates, users, videos, context):
        return self.altered(super().score(candidates, users, videos, context))

    def altered(self, found):
        raise NotImplementedError


class RowsByUtility(Bug):
    def altered(self, found):
        return found.sort_by([("utility", "descending")])


class RowsByUser(Bug):
    """Rows of one user together, as requests have them; ids and answers still belong to each other."""

    def altered(self, found):
        return found.sort_by([("user_id", "ascending")])


class AnswersNotPutBack(Sound):
    """Answers in the order of the requests beside rows in the order of the candidates."""

    def predict_requests(self, requests):
        found = super().predict_requests(requests)
        return found.take(np.arange(len(found.p_click))[::-1])


class DropsNewVideos(Bug):
    def altered(self, found):
        return found.filter(pa.array([v != NOVELTY for v in found["video_id"].to_pylist()]))


class DropsRepeats(Bug):
    def altered(self, found):
        seen, kept = set(), []
        for row in found.to_pylist():
            key = row["user_id"], row["video_id"]
            kept.append(key not in seen)
            seen.add(key)
        return found.filter(pa.array(kept, pa.bool_()))


class ItsOwnScores(Bug):
    def altered(self, found):
        return changed(found, score=numbers(found, "utility"))


class OwnSource(Bug):
    def altered(self, found):
        return changed(found, source=[self.name] * found.num_rows)


class IntIds(Bug):
    def altered(self, found):
        return found.set_column(0, "user_id", pa.array(range(found.num_rows), pa.int64()))


class NoReasons(Bug):
    def altered(self, found):
        return found.drop_columns(["reasons"])


class DoublePrecision(Bug):
    def altered(self, found):
        return found.set_column(5, "p_click", found["p_click"].cast(pa.float64()))


class Odds(Bug):
    """Odds where chances are wanted."""

    def altered(self, found):
        p = numbers(found, "p_click")
        return changed(found, p_click=p / (1 - p) * 9)


class NegativeChance(Bug):
    def altered(self, found):
        return changed(found, p_conv=numbers(found, "p_conv") - 0.5)


class MoreConversionsThanClicks(Bug):
    def altered(self, found):
        return changed(found, p_conv=np.minimum(1, numbers(found, "p_click") * 1.01))


class NegativeSeconds(Bug):
    def altered(self, found):
        return changed(found, watch_s=numbers(found, "watch_s") - 8)


class EndlessSeconds(Bug):
    def altered(self, found):
        watch = numbers(found, "watch_s")
        watch[3::11] = np.inf
        return changed(found, watch_s=watch)


class NotANumber(Bug):
    def altered(self, found):
        worth = numbers(found, "utility")
        worth[::13] = np.nan
        return changed(found, utility=worth)


class WorthUpsideDown(Bug):
    def altered(self, found):
        return changed(found, utility=-numbers(found, "utility"))


class BatchNormalised(Bug):
    """Chances compared with the batch's, as a network in training mode does."""

    def altered(self, found):
        p = numbers(found, "p_click")
        return changed(found, p_click=np.clip(p / max(p.mean(), 1e-6) * 0.2, numbers(found, "p_conv"), 1))


class RankCounts(Sound):
    """What a recommender thought has a part in the answer."""

    def score(self, candidates, users, videos, context):
        found = super().score(candidates, users, videos, context)
        return changed(found, p_click=numbers(found, "p_click") * (1 - 0.01 * numbers(found, "rank")))


class FirstRowDiffers(Bug):
    """A leak from the place in the batch."""

    def altered(self, found):
        watch = numbers(found, "watch_s")
        watch[:1] += 1
        return changed(found, watch_s=watch)


class OneForAll(Sound):
    """The first shopper of a batch stands for all."""

    def predict_requests(self, requests):
        return super().predict_requests([replace(r, user=requests[0].user) for r in requests])


class PopularOnly(Sound):
    """Shoppers have no part in it."""

    def predict_requests(self, requests):
        return super().predict_requests([replace(r, user=Profile("user", "nobody")) for r in requests])


class StrangersAreAverage(Sound):
    """Who has no profile gets another answer than who has a blank one."""

    def score(self, candidates, users, videos, context):
        average = next(iter(users.values())) if users else None
        filled = users if average is None else {STRANGER: replace(average, entity_id=STRANGER), **users}
        return super().score(candidates, filled, videos, context)


class KnownSurfacesOnly(Sound):
    def predict_requests(self, requests):
        for request in requests:
            self.rates.surfaces[request.context.surface]
        return super().predict_requests(requests)


class NothingIsWithoutColumns(Bug):
    def altered(self, found):
        return found if found.num_rows else RANKED.arrow().empty_table().select(["user_id"])


class TakesAnything(Sound):
    def score(self, candidates, users, videos, context):
        try:
            return super().score(candidates, users, videos, context)
        except VrecError:
            return RANKED.arrow().empty_table()


class TakesAnyCounts(Sound):
    def score(self, candidates, users, videos, context):
        known = {name: p for name, p in users.items() if np.isfinite(list(p.counts.values())).all()}
        others = {name: p for name, p in videos.items() if np.isfinite(list(p.counts.values())).all()}
        return super().score(candidates, known, others, context)


class Drawn(Sound):
    """Answers that are drawn: another one each time."""

    rng = np.random.default_rng()

    def predict_requests(self, requests):
        found = super().predict_requests(requests)
        return replace(found, watch_s=found.watch_s + self.rng.random(len(found.watch_s), np.float32))


class FittedByChance(Sound):
    @classmethod
    def fit(cls, config, requests, labels, content):
        found = super().fit(config, requests, labels, content)
        rates = replace(found.rates, intercept=found.rates.intercept + np.random.default_rng().random())
        return cls(config, rates, found.scalars)


class NotesTheRequest(Sound):
    """Counts the impressions to come in the shopper's profile."""

    def score(self, candidates, users, videos, context):
        found = super().score(candidates, users, videos, context)
        for user in set(candidates["user_id"].to_pylist()) & set(users):
            users[user].counts["event:impression"] = users[user].counts.get("event:impression", 0.0) + 1e-9
        return found


class RemembersStrangers(Sound):
    def score(self, candidates, users, videos, context):
        found = super().score(candidates, users, videos, context)
        users.setdefault(STRANGER, Profile("user", STRANGER))
        return found


class LossySave(Sound):
    @classmethod
    def load(cls, uri):
        found = super().load(uri)
        rates = replace(found.rates, weights=found.rates.weights.astype(np.float16).astype(float))
        return cls(found.config, rates, found.scalars)


class LosesDurations(Sound):
    @classmethod
    def load(cls, uri):
        found = super().load(uri)
        blank = replace(found.scalars, duration_s=np.full_like(found.scalars.duration_s, np.nan))
        return cls(found.config, found.rates, blank)


class LoadsAnyKind(Sound):
    @classmethod
    def load(cls, uri):
        found = read_artifact(uri)
        if found.kind == cls.kind:
            return super().load(uri)
        return cls(RateBaselineConfig(), None, None)


class LoadsTheDamaged(Sound):
    kept = None

    def save(self, uri):
        type(self).kept = self
        super().save(uri)

    @classmethod
    def load(cls, uri):
        try:
            return super().load(uri)
        except VrecError:
            if cls.kept is None:
                raise
            return cls.kept


class WritesIntoItself(Sound):
    def predict_requests(self, requests):
        self.rates.weights[...] += 0
        return super().predict_requests(requests)
