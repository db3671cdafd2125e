"""Handle of a ranking deployment in the same process: its calls are plain calls."""

from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec, TypeVar

from vrec.serving.deployments.ranking.deployment import RankingDeployment

P = ParamSpec("P")
T = TypeVar("T")


class LocalMethod(Generic[P, T]):
    """Method of a local object with the call syntax of a handle's method."""

    def __init__(self, method: Callable[P, Awaitable[T]]) -> None:
        self._method = method

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Call the method and return its awaitable."""
        return self._method(*args, **kwargs)


class LocalRankingHandle:
    """`RankingHandle` over a ranking deployment in this process."""

    def __init__(self, ranking: RankingDeployment) -> None:
        self.recommend = LocalMethod(ranking.recommend)
        self.similar = LocalMethod(ranking.similar)
        self.search = LocalMethod(ranking.search)
        self.find_moments = LocalMethod(ranking.find_moments)
        self.converse = LocalMethod(ranking.converse)
        self.search_subject = LocalMethod(ranking.search_subject)
        self.preview = LocalMethod(ranking.preview)
        self.ready = LocalMethod(ranking.ready)
        self.refused = LocalMethod(ranking.refused)
        self.refusal = LocalMethod(ranking.refusal)
