"""State of a ranking process that its parts share."""

from typing import TYPE_CHECKING

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.handles import EncoderHandle
from vrec.serving.messages import ReadPosition
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.follower import StreamFollower

if TYPE_CHECKING:
    from vrec.serving.recommend.engine import RecommendEngine


class RankingPart:
    """Base of the parts of `RankingDeployment`, which has what they use."""

    _config: ServeConfig
    _encoder: EncoderHandle | None
    _rules: RuleFollower
    _streams: StreamFollower

    @property
    def _engine(self) -> "RecommendEngine":
        raise NotImplementedError

    async def _reach(self, position: ReadPosition | None) -> None:
        raise NotImplementedError

    def _missing(self) -> list[str]:
        raise NotImplementedError
