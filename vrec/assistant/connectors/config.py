"""Settings of the connectors."""

from typing import Annotated

from pydantic import Field

from vrec.core.config import BaseConfig

WebAddress = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s#]*)?(\?[^\s#]*)?$", max_length=2_000)]
"""Address without a user name, password or fragment in it."""
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable."""


class OrdersConfig(BaseConfig):
    """HTTP tool of the shop that says how a shopper's orders stand: docs/assistant.md has its contract."""

    url: WebAddress | None = None
    """Address that is asked by `GET URL?user_id=…`, only for accounts, whom a shopper token or a server's key
    vouches for; without one the assistant says that it cannot see orders."""
    key_variable: VariableName = "VREC_ORDERS_KEY"
    """Environment variable with the tool's bearer token, or with `_FILE` appended, of a file with it; none is
    sent where it is empty."""
    timeout_s: float = Field(default=2.0, gt=0, le=30)
    """Seconds that the tool may take, one repetition included."""


class HandOverConfig(BaseConfig):
    """Conversations that a person takes over."""

    url: WebAddress | None = None
    """Address to which each hand-over is posted until it confirms with a status of 200 to 299; without one
    hand-overs are only kept for `GET /v1/hand-overs`."""
    secret_variable: VariableName = "VREC_HAND_OVER_SECRET"
    """Environment variable with the secret, of 32 characters or more, that signs what is posted, or with
    `_FILE` appended, of a file with it. It must be set where there is a `url`."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds that the address may take to confirm."""
    days: float = Field(default=30.0, gt=0, le=3_650)
    """Days for which hand-overs are kept, confirmed or not."""
