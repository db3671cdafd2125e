"""Settings of the assistant."""

from typing import Annotated

from pydantic import Field, StringConstraints

from vrec.assistant.connectors.config import HandOverConfig, OrdersConfig
from vrec.assistant.language_model.config import LanguageModelConfig
from vrec.core.config import BaseConfig

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AssistantConfig(BaseConfig):
    """Conversations about the catalog and with the shop's own documents."""

    documents: str | None = Field(default=None, min_length=1)
    """Folder of Markdown files (delivery, returns, sizes, …) whose passages answer questions of customer
    service; without one such questions are passed on to a person."""
    cards: int = Field(default=5, ge=1, le=20)
    """Videos of an answer."""
    min_passage_score: float = Field(default=0.5, ge=0, le=1)
    """Probability from which on a passage answers a question that names a subject of customer service, such
    as returns, or nothing of the catalog. A higher one refuses more."""
    sure_passage_score: float = Field(default=0.6, ge=0, le=1)
    """Probability from which on a passage answers a question that names something of the catalog as well."""
    learns: bool = True
    """Whether what a shopper asks the assistant for counts as interest (a `search` event), so that the feed
    follows. Switch it off where shoppers have not agreed to that."""
    days: float = Field(default=30.0, gt=0, le=3650, allow_inf_nan=False)
    """Days for which a conversation is kept in the store after its last message."""
    message_chars: int = Field(default=1_000, ge=1, le=4_000)
    """Maximum length of a message."""
    timeout_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Seconds that an answer may take."""
    rates: dict[Currency, PositiveFloat] = Field(default_factory=dict)
    """Value of one unit of other currencies in the shop's, by ISO 4217 code, such as `{EUR: 1.08}` in a shop
    with prices in dollars. Of an amount in a currency without a rate, the answer says that prices are in
    another one, and it filters nothing."""
    orders: OrdersConfig = Field(default_factory=OrdersConfig)
    """The shop's tool for questions about orders."""
    handover: HandOverConfig = Field(default_factory=HandOverConfig)
    """Conversations that a person takes over."""
    llm: LanguageModelConfig = Field(default_factory=LanguageModelConfig)
    """Language model that may help the rules."""
