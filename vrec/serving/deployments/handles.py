"""Protocols of the handles of the deployments."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import pyarrow as pa

from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult, Vectors
from vrec.privacy.consent.table import Answers, ConsentAnswer, Purpose
from vrec.profiles.links import AccountLink
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import Doubles
from vrec.retrieval.live.views import NamedRates
from vrec.serving.arm_days import ArmDay
from vrec.serving.conversation.hand_overs import HandOver
from vrec.serving.conversation.messages import ConverseQuery, ConverseResult
from vrec.serving.deployments.held import ShopperReceipt
from vrec.serving.experiments import ArmStatistics
from vrec.serving.health.hours import ModelHealth
from vrec.serving.messages import EmbeddedVideo, ListResult, ReadPosition, RecommendQuery, RequestFilters
from vrec.serving.moments.messages import MomentExample, MomentQuery, MomentResult
from vrec.serving.rules.book import ShopRule
from vrec.serving.trends.trending import TrendingVideo
from vrec.serving.trends.windows import TrendWindow

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class RemoteMethod(Protocol[P, T_co]):
    """Method of a deployment handle."""

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T_co]:
        """Send the call; awaiting the result raises the method's error, or Ray's if no replica answers."""
        ...


class DeploymentHandle(Protocol):
    """Handle of any deployment."""

    @property
    def ready(self) -> RemoteMethod[[], str]:
        """Return the version of the bundle in service; raises if the deployment cannot work now."""
        ...


class RankingHandle(DeploymentHandle, Protocol):
    """Handle of the ranking deployment; see `RankingDeployment` for its methods."""

    @property
    def recommend(self) -> RemoteMethod[[RecommendQuery, ReadPosition | None], ListResult]: ...

    @property
    def similar(
        self,
    ) -> RemoteMethod[[str, int, RequestFilters, int, ReadPosition | None], ListResult]: ...

    @property
    def search(
        self,
    ) -> RemoteMethod[[str, int, RequestFilters, int, ReadPosition | None], ListResult]: ...

    @property
    def preview(
        self,
    ) -> RemoteMethod[
        [Sequence[RecommendQuery], str, ShopRule | None, ReadPosition | None],
        list[tuple[ListResult, ListResult]],
    ]: ...

    @property
    def find_moments(self) -> RemoteMethod[[MomentQuery, ReadPosition | None], MomentResult]: ...

    @property
    def converse(self) -> RemoteMethod[[ConverseQuery, ReadPosition | None], ConverseResult]: ...

    @property
    def search_subject(self) -> RemoteMethod[[str], str | None]: ...

    @property
    def refused(self) -> RemoteMethod[[], str | None]: ...
    @property
    def refusal(self) -> RemoteMethod[[], tuple[str, str] | None]: ...


class ProfilesHandle(DeploymentHandle, Protocol):
    """Handle of the profiles deployment; see `ProfilesDeployment` for its methods."""

    @property
    def apply(self) -> RemoteMethod[[pa.Table, Sequence[int]], list[ApplyResult | VrecError]]: ...

    @property
    def get(self) -> RemoteMethod[[str], Profile | None]: ...

    @property
    def shopper(self) -> RemoteMethod[[str], Profile | None]: ...
    @property
    def consents(self) -> RemoteMethod[[str], dict[Purpose, ConsentAnswer]]: ...
    @property
    def consents_after(
        self,
    ) -> RemoteMethod[[int, int], tuple[list[tuple[str, dict[Purpose, ConsentAnswer]]], int]]: ...
    @property
    def put_consents(self) -> RemoteMethod[[str, Answers], dict[Purpose, ConsentAnswer]]: ...
    @property
    def without_consent(self) -> RemoteMethod[[Sequence[str], Purpose], set[str]]: ...

    @property
    def link(self) -> RemoteMethod[[AccountLink], tuple[AccountLink, bool]]: ...
    @property
    def unlink(self) -> RemoteMethod[[str, str, int], AccountLink]: ...
    @property
    def links_of(self) -> RemoteMethod[[str], list[AccountLink]]: ...
    @property
    def links_after(self) -> RemoteMethod[[int, int], tuple[list[AccountLink], int]]: ...

    @property
    def sums(self) -> RemoteMethod[[Sequence[str], Sequence[str]], dict[str, float]]: ...

    @property
    def video_counts(self) -> RemoteMethod[[Sequence[str]], tuple[int, Doubles]]: ...

    @property
    def video_counts_since(self) -> RemoteMethod[[int], tuple[int, list[str], Doubles]]: ...

    @property
    def export(self) -> RemoteMethod[[int, int], tuple[pa.Table, int]]: ...

    @property
    def export_consented(self) -> RemoteMethod[[int, int], tuple[pa.Table, int]]: ...

    @property
    def held(self) -> RemoteMethod[[str], dict[str, Any]]: ...
    @property
    def keep_receipt(self) -> RemoteMethod[[str, Mapping[str, int], str | None], ShopperReceipt]: ...
    @property
    def receipts(self) -> RemoteMethod[[int | None, int], list[ShopperReceipt]]: ...
    @property
    def erase_with_receipt(self) -> RemoteMethod[[str, str | None], ShopperReceipt]: ...

    @property
    def erase(self) -> RemoteMethod[[str], int]: ...

    @property
    def append_record(self) -> RemoteMethod[[str, bytes, int | None, int | None], int | None]: ...

    @property
    def records_after(self) -> RemoteMethod[[str, int, int], list[tuple[int, bytes]]]: ...

    @property
    def records_before(self) -> RemoteMethod[[str, int | None, int], list[tuple[int, bytes]]]: ...

    @property
    def put_states(
        self,
    ) -> RemoteMethod[[str, Sequence[tuple[str, bytes, int | None]]], list[int | None]]: ...
    @property
    def drop_state(self) -> RemoteMethod[[str, str, int], bool]: ...
    @property
    def states(self) -> RemoteMethod[[str, Sequence[str]], dict[str, tuple[int, bytes]]]: ...
    @property
    def states_after(self) -> RemoteMethod[[str, int, int], list[tuple[int, str, bytes]]]: ...

    @property
    def conversation(self) -> RemoteMethod[[str], tuple[int, bytes]]: ...
    @property
    def put_conversation(self) -> RemoteMethod[[str, bytes, int], int | None]: ...
    @property
    def forget_conversation(self) -> RemoteMethod[[str], bool]: ...
    @property
    def add_hand_over(self) -> RemoteMethod[[HandOver], None]: ...
    @property
    def hand_overs(self) -> RemoteMethod[[int, int], tuple[list[HandOver], int]]: ...

    @property
    def remove_event(self) -> RemoteMethod[[str], bool]: ...

    @property
    def join(self) -> RemoteMethod[[str, str], int]: ...

    @property
    def rekey(self) -> RemoteMethod[[Sequence[tuple[str, str]]], int]: ...

    @property
    def events_of(self) -> RemoteMethod[[str, int | None, int], tuple[pa.Table, int | None]]: ...

    @property
    def owner(self) -> RemoteMethod[[], str]: ...

    @property
    def arms(self) -> RemoteMethod[[], ArmStatistics]: ...

    @property
    def arm_days(self) -> RemoteMethod[[int], Sequence[ArmDay]]: ...

    @property
    def model_health(self) -> RemoteMethod[[], ModelHealth]: ...

    @property
    def live_rates(self) -> RemoteMethod[[Sequence[str]], NamedRates | None]: ...
    @property
    def trending(self) -> RemoteMethod[[TrendWindow], tuple[tuple[TrendingVideo, ...], bool]]: ...


class EncoderHandle(DeploymentHandle, Protocol):
    """Handle of the encoder deployment; see `EncoderDeployment` for its methods."""

    @property
    def video(self) -> RemoteMethod[[str, str | None, Sequence[str]], EmbeddedVideo]: ...

    @property
    def words(self) -> RemoteMethod[[str | None, Sequence[str]], EmbeddedVideo]: ...

    @property
    def text(self) -> RemoteMethod[[str], Vectors | None]: ...

    @property
    def joint_text(self) -> RemoteMethod[[str], Vectors | None]: ...

    @property
    def example(self) -> RemoteMethod[[bytes], MomentExample]: ...
