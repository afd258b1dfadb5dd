"""Requests of OpenAI's API, as far as a model of text answers them; what is not named here is refused.

The names, ranges and defaults are those of https://platform.openai.com/docs/api-reference; `top_k`, `min_p`,
`repetition_penalty` and `min_tokens` are additions that other servers have too.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, model_validator

from seqlab.types import NonNegativeInt, Penalty, PositiveInt, Probability, Seed

MAX_TEXTS = 128  # that one request may ask for
MAX_MESSAGES = 512
DEFAULTS = [
    ("presence_penalty", 0),
    ("frequency_penalty", 0),
    ("best_of", 1),
    ("echo", False),
    ("tools", []),
    ("response_format", {"type": "text"}),
]
Nothing = Annotated[list[Any], Len(0, 0)] | None  # what answers carry besides, when they are sent back
Bias = Annotated[float, Ge(-100), Le(100)]


class GenerationRequest(BaseModel):
    """What both kinds of requests have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str | None = None
    temperature: Annotated[float, Ge(0), Le(2)] = 1.0
    top_p: Probability = 1.0
    top_k: PositiveInt | None = None
    min_p: Probability | None = None
    repetition_penalty: Penalty = 1.0
    min_tokens: NonNegativeInt = 0
    n: Annotated[int, Ge(1), Le(MAX_TEXTS)] = 1
    stop: str | Annotated[list[str], Len(0, 16)] | None = None
    seed: Seed | None = None
    logit_bias: dict[str, Bias] | None = None
    stream: bool = False
    stream_options: "StreamOptions | None" = None
    user: str | None = None  # for a server that bills; no text depends on it

    @model_validator(mode="before")
    @classmethod
    def leave_out_defaults(cls, body: Any) -> Any:
        """Without what clients send though it asks for nothing: null, and the defaults of what is not supported."""
        if not isinstance(body, dict):
            return body
        return {key: value for key, value in body.items() if value is not None and (key, value) not in DEFAULTS}


class StreamOptions(BaseModel):
    """`stream_options` of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class CompletionRequest(GenerationRequest):
    """A request to continue texts."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: PositiveInt = 16
    logprobs: Annotated[int, Ge(0), Le(20)] | None = None


class TextPart(BaseModel):
    """A part of a message; there are no others than texts."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    refusal: None = None
    annotations: Nothing = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None

    def to_plain(self) -> dict[str, Any]:
        """As the rest of seqlab takes messages; OpenAI calls a system message a developer's as well."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatRequest(GenerationRequest):
    """A request to answer a conversation."""

    messages: Annotated[list[ChatMessage], Len(1, MAX_MESSAGES)]
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None  # its newer name
    logprobs: bool = False
    top_logprobs: Annotated[int, Ge(0), Le(20)] | None = None
