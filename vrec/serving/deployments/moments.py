"""Moments, as one HTTP replica asks ranking and the encoder for them."""

from collections.abc import Callable

from vrec.config.serve import ServeConfig
from vrec.serving.budgets.cpu import charge_cpu
from vrec.serving.deployments.handles import EncoderHandle, RankingHandle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import ReadPosition
from vrec.serving.moments.messages import MomentExample, MomentQuery, MomentResult

EXAMPLE_TIMEOUT_S = 60.0
"""Seconds that embedding an example may take; decoding has a shorter limit of its own."""


class MomentOperations:
    """Moments over handles of deployments; see MomentsBackend."""

    def __init__(
        self,
        ranking: RankingHandle,
        encoder: EncoderHandle | None,
        position: Callable[[], ReadPosition],
        config: ServeConfig,
    ) -> None:
        """Build it over handles, the position that answers have to have, and the settings."""
        self._ranking, self._encoder, self._position, self._config = ranking, encoder, position, config

    async def find(self, query: MomentQuery) -> MomentResult:
        """Return moments; see MomentsBackend."""
        call = self._ranking.find_moments.remote(query, self._position())
        result = await await_reply(call, self._config.ranking_timeout_s)
        charge_cpu(result.cpu_ms)
        return result

    async def embed(self, content: bytes) -> MomentExample:
        """Embed an example; see MomentsBackend."""
        if self._encoder is None:
            raise BackendUnavailable("no encoder is running", fix="set serve.replicas.encoder to 1 or more")
        return await await_reply(self._encoder.example.remote(content), EXAMPLE_TIMEOUT_S)
