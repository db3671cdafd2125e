"""Parts of the service that name shoppers, behind a door."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.privacy.consent.table import Answers, ConsentAnswer, Purpose
from vrec.privacy.door.door import Door
from vrec.privacy.door.ids import KnownId
from vrec.profiles.links import AccountLink
from vrec.serving.batches.folder import BatchState
from vrec.serving.conversation.messages import ConversationTurn, ShopperMessage
from vrec.serving.conversation.record import Conversation
from vrec.serving.creators.entries import CreatorList
from vrec.serving.creators.lists import CreatorKind
from vrec.serving.deployments.backends import (
    BatchesBackend,
    ConsentsBackend,
    ConversationsBackend,
    CreatorsBackend,
    ExperimentBackend,
    LearnedSearchesBackend,
    LinksBackend,
    MomentsBackend,
    RecordsBackend,
    RulesBackend,
    SearchesBackend,
)
from vrec.serving.deployments.held import ShopperReceipt
from vrec.serving.messages import ListResult, RecommendQuery
from vrec.serving.moments.messages import MomentQuery, MomentResult
from vrec.serving.rules.book import ShopRule


class Doorway(Protocol):
    """The way in that the parts share."""

    @property
    def door(self) -> Door:
        """The door."""
        ...

    async def enter(self, *user_ids: str) -> list[str]:
        """Return the ids of shoppers, sessions or accounts as they are kept."""
        ...

    async def enter_all(self, user_ids: Sequence[str]) -> list[str]:
        """Return the ids of many shoppers as they are kept."""
        ...

    async def query_at_door(self, query: RecommendQuery) -> RecommendQuery:
        """Return a request for a list as it may go on."""
        ...


class RulesAtDoor:
    """RulesBackend; the shoppers of a preview are named."""

    def __init__(self, part: RulesBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.book, self.change, self.history = part.book, part.change, part.history

    async def preview(
        self, queries: Sequence[RecommendQuery], rule_id: str, rule: ShopRule | None
    ) -> list[tuple[ListResult, ListResult]]:
        """See RulesBackend."""
        entered = [await self._way.query_at_door(query) for query in queries]
        return await self._part.preview(entered, rule_id, rule)


class SearchesAtDoor:
    """SearchesBackend; a text with personal data is not counted."""

    def __init__(self, part: SearchesBackend, way: Doorway) -> None:
        self._part, self._door = part, way.door
        self.popular = part.popular

    def count(self, text: str, user_key: str, at: int) -> None:
        """See SearchesBackend."""
        if self._door.text(text) == text:
            self._part.count(text, self._door.shopper(user_key), at)


class LearnedSearchesAtDoor:
    """LearnedSearchesBackend; the text is a shopper's."""

    def __init__(self, part: LearnedSearchesBackend, way: Doorway) -> None:
        self._part, self._door = part, way.door

    def learn(self, text: str, user_key: str, request_id: str) -> None:
        """See LearnedSearchesBackend."""
        self._part.learn(self._door.text(text), self._door.shopper(user_key), request_id)


class ConsentsAtDoor:
    """ConsentsBackend; the listing names shoppers by their pseudonyms, as the log of events does."""

    def __init__(self, part: ConsentsBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.default, self.after = part.default, part.after

    async def of(self, user_id: str) -> Mapping[Purpose, ConsentAnswer]:
        """See ConsentsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.of(entered)

    async def put(self, user_id: str, answers: Answers) -> Mapping[Purpose, ConsentAnswer]:
        """See ConsentsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.put(entered, answers)


class RecordsAtDoor:
    """RecordsBackend; records are told and erased under the ids that are kept."""

    def __init__(self, part: RecordsBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.keep_receipt, self.receipts = part.keep_receipt, part.receipts

    async def held(self, user_id: str) -> Mapping[str, Any]:
        """See RecordsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.held(entered)

    async def erase(self, user_id: str, sha256: str | None) -> ShopperReceipt:
        """See RecordsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.erase(entered, sha256)


class LinksAtDoor:
    """LinksBackend; the store's table of links joins the pseudonyms of two domains."""

    def __init__(self, part: LinksBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.after, self.counts, self.unused = part.after, part.counts, part.unused

    async def put(self, link: AccountLink) -> tuple[AccountLink, bool]:
        """See LinksBackend."""
        user_id, _ = await self._way.enter(link.user_id, link.account)
        other = self._way.door.account(link.other_domain, link.other_user_id)
        held, is_new = await self._part.put(replace(link, user_id=user_id, other_user_id=other))
        return replace(held, user_id=link.user_id, other_user_id=link.other_user_id), is_new

    async def revoke(self, user_id: str, domain: str, at: int) -> AccountLink:
        """See LinksBackend."""
        (entered,) = await self._way.enter(user_id)
        return replace(await self._part.revoke(entered, domain, at), user_id=user_id)

    async def of(self, user_id: str) -> list[AccountLink]:
        """See LinksBackend."""
        (entered,) = await self._way.enter(user_id)
        return [replace(link, user_id=user_id) for link in await self._part.of(entered)]

    async def account_of(self, user_id: str, domain: str) -> str | None:
        """See LinksBackend."""
        (entered,) = await self._way.enter(user_id)
        found = await self._part.account_of(entered, domain)
        # It goes back into `apply` as the shopper of events.
        return None if found is None else KnownId(found)


class CreatorsAtDoor:
    """CreatorsBackend; the shopper of a list is named."""

    def __init__(self, part: CreatorsBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.get, self.page = part.get, part.page

    async def recommend(self, query: RecommendQuery, kind: CreatorKind) -> CreatorList:
        """See CreatorsBackend."""
        return await self._part.recommend(await self._way.query_at_door(query), kind)


class MomentsAtDoor:
    """MomentsBackend; the text is a shopper's."""

    def __init__(self, part: MomentsBackend, way: Doorway) -> None:
        self._part, self._door = part, way.door
        self.embed = part.embed

    async def find(self, query: MomentQuery) -> MomentResult:
        """See MomentsBackend."""
        text = None if query.text is None else self._door.text(query.text)
        return await self._part.find(replace(query, text=text))


class ConversationsAtDoor:
    """ConversationsBackend; the shop's orders tool alone is asked for the id that was sent."""

    def __init__(self, part: ConversationsBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.hand_overs = part.hand_overs

    async def answer(
        self, user_id: str, message: ShopperMessage, account: str | None = None
    ) -> ConversationTurn:
        """See ConversationsBackend."""
        door = self._way.door
        (entered,) = await self._way.enter(user_id)
        kept = replace(
            message,
            message_id=door.event(message.message_id),
            text=door.text(message.text),
            remove=None if message.remove is None else door.text(message.remove),
            age=door.age(message.age),
        )
        turn = await self._part.answer(entered, kept, account or user_id)
        return replace(turn, message_id=message.message_id)

    async def get(self, user_id: str) -> Conversation | None:
        """See ConversationsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.get(entered)

    async def forget(self, user_id: str) -> bool:
        """See ConversationsBackend."""
        (entered,) = await self._way.enter(user_id)
        return await self._part.forget(entered)


class BatchesAtDoor:
    """BatchesBackend; a result names shoppers by their pseudonyms."""

    def __init__(self, part: BatchesBackend, way: Doorway) -> None:
        self._part, self._way = part, way
        self.state, self.cancel, self.result = part.state, part.cancel, part.result

    async def start(self, query: RecommendQuery, user_ids: Sequence[str] | None) -> BatchState:
        """See BatchesBackend."""
        entered = None if user_ids is None else await self._way.enter_all(user_ids)
        return await self._part.start(await self._way.query_at_door(query), entered)


class ExperimentAtDoor:
    """ExperimentBackend; arms are those of the ids that are kept."""

    def __init__(self, part: ExperimentBackend, way: Doorway) -> None:
        self._part, self._door = part, way.door
        self.present, self.change = part.present, part.change

    @property
    def config(self) -> ExperimentConfig:
        """See ExperimentBackend."""
        return self._part.config

    def arm_of(self, user_id: str) -> ExperimentArmConfig:
        """See ExperimentBackend."""
        return self._part.arm_of(self._door.shopper(user_id))
