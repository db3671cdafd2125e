"""Settings of the language model."""

from typing import Self

from pydantic import Field, model_validator

from vrec.assistant.connectors.config import VariableName, WebAddress
from vrec.core.config import BaseConfig


class LanguageModelConfig(BaseConfig):
    """Language model that helps the assistant; without one its rules answer alone."""

    url: WebAddress | None = None
    """Address of an OpenAI-compatible endpoint, such as `http://127.0.0.1:8001/v1/chat/completions`. Messages
    of shoppers are sent there, never who they are, and neither orders nor documents."""
    model: str = Field(default="", max_length=200)
    """Name of the model at the endpoint."""
    key_variable: VariableName = "VREC_LLM_KEY"
    """Environment variable with the endpoint's bearer token, or with `_FILE` appended, of a file with it;
    none is sent where it is empty."""
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """Seconds that one question to the model may take; then the rules' answer is given."""
    max_tokens: int = Field(default=300, ge=16, le=4_000)
    """Maximum length of what the model writes; an answer that is cut there is not used."""
    parses: bool = True
    """Whether it is asked for the meaning of messages that the rules do not understand."""
    phrases: bool = True
    """Whether it is asked to put the rules' answers into other words."""

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.url is not None and not self.model:
            raise ValueError("serve.assistant.llm.url needs a model: set serve.assistant.llm.model too")
        return self
