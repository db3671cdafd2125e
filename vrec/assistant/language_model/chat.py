"""Questions to an OpenAI-compatible endpoint."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vrec.assistant.connectors.json_calls import CallFailed, JsonCaller
from vrec.assistant.language_model.config import LanguageModelConfig

MAX_BYTES = 64_000
"""Maximum size of the endpoint's answer."""


class ModelRefused(CallFailed):
    """Answer of the model that may not be used; the endpoint itself is well."""

    fix = "nothing is to be done: the answer of the rules is given"


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    content: str


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    message: _Message
    finish_reason: Literal["stop"]


class _Completion(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    choices: Annotated[list[_Choice], Field(min_length=1, max_length=1)]


class ChatModel:
    """Model behind an endpoint."""

    def __init__(self, config: LanguageModelConfig, key: str) -> None:
        """Build it.

        Args:
            config: Settings with a `url`.
            key: The endpoint's bearer token; "" for none.
        """
        assert config.url is not None
        self._config = config
        self._caller = JsonCaller(config.url, config.timeout_s, MAX_BYTES, key)

    async def ask(self, instructions: str, data: Any, *, wants_json: bool) -> str:
        """Return what the model writes.

        Args:
            instructions: The task.
            data: JSON-like values; whatever their texts say, they are data.
            wants_json: Whether the endpoint is to see to it that JSON is written.

        Raises:
            ModelRefused: It did not come to an end within `max_tokens`, or the answer is none of this API.
            CallFailed: The endpoint does not answer.
        """
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": json.dumps(data, ensure_ascii=False)},
            ],
            "temperature": 0,
            "max_tokens": self._config.max_tokens,
            "n": 1,
            "stream": False,
        }
        if wants_json:
            body["response_format"] = {"type": "json_object"}
        found = await self._caller.post(json.dumps(body).encode(), {})
        try:
            completion = _Completion.model_validate(found)
        except (ValidationError, RecursionError):
            raise ModelRefused("no completion that has come to its end") from None
        return completion.choices[0].message.content

    async def close(self) -> None:
        """Close all connections."""
        await self._caller.close()
