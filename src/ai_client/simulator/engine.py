"""From a request to a script: who asks, for what, whether quota allows it, what goes wrong, and what is answered."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.clock import Clock
from ai_client.errors import ContextLengthError, InvalidRequestError, UnknownModelError
from ai_client.model.parse import parse
from ai_client.model.request import Endpoint, Fields
from ai_client.simulator import chat, embeddings, responses
from ai_client.simulator.accounts import Account, Accounts, Counters
from ai_client.simulator.answers import AnswerBook, load_answers
from ai_client.simulator.breakage import break_script
from ai_client.simulator.chance import Chance, Luck, Occurrences, luck
from ai_client.simulator.faults import FaultBook
from ai_client.simulator.generation import Author, Choice, Generation, continued
from ai_client.simulator.models import MODELS, SimModel
from ai_client.simulator.prefixes import BLOCK_CHARS
from ai_client.simulator.prompts import (
    CHARS_PER_TOKEN,
    EmbeddingOptions,
    embedding_options,
    prefill_of,
    prompt_text,
    prompts_of,
    tokens_of,
)
from ai_client.simulator.prose import Prose
from ai_client.simulator.quota import retry_headers
from ai_client.simulator.script import Script
from ai_client.simulator.settings import Settings, pace_of
from ai_client.transport.exchange import JSON_HEADERS, Request, error_body
from ai_client.transport.http import Header

_SECOND_NS: Final = 1_000_000_000
_MOST_CHOICES: Final = 128
_MOST_TEXTS: Final = 2_048
_STREAM_HEADER: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_MODELS_CREATED: Final = 1_735_689_600  # 2025-01-01: any fixed day


class Asked(msgspec.Struct, frozen=True):
    """A request that made sense: by whom, of which model, with which luck."""

    endpoint: Endpoint
    account: Account
    model: SimModel
    fields: Fields
    body: bytes
    digest: bytes
    draws: Luck
    prompt_tokens: int
    embedding: EmbeddingOptions | None
    begun: int = 0


class Engine:
    """One provider. It holds everything that a provider remembers, and does no I/O but reading its answers file."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Raises `ConfigurationError` when the settings make no sense."""
        settings.check()
        self._clock = clock
        self._chance = Chance(settings.seed)
        book = load_answers(settings.answers, self._chance) if settings.answers else AnswerBook({}, self._chance)
        self._author = Author(book, settings.reply_tokens)
        self._prose = Prose()
        self._prefill = settings.prefill
        self._models = {model.name: model for model in MODELS}
        self._paces = {model.name: pace_of(model, settings) for model in MODELS}
        self._occurrences = Occurrences()
        self.accounts = Accounts(settings.keys, settings.rpm, settings.tpm, settings.burst_seconds)
        self.by_model = {model.name: Counters() for model in MODELS}
        self.faults = FaultBook(settings.faults, self._chance, clock.monotonic_ns())
        self._writers: dict[Endpoint, Callable[[Asked, Generation], Script]] = {
            Endpoint.CHAT: self._write_chat,
            Endpoint.COMPLETIONS: self._write_completion,
            Endpoint.RESPONSES: self._write_response,
        }

    def reset(self) -> None:
        """Forget all keys, counts and occurrences; keep the settings and the faults."""
        self._occurrences = Occurrences()
        self.accounts.clear()
        self.by_model = {model.name: Counters() for model in MODELS}
        self.faults.reset(self._clock.monotonic_ns())

    def models(self, request: Request) -> Script:
        """The answer to `GET /v1/models` and `/v1/models/NAME`."""
        now_ns = self._clock.monotonic_ns()
        self.accounts.open(request.header(b"authorization"), now_ns).counters.requests += 1
        name = request.path.removeprefix("/v1/models").removeprefix("/")
        found = [_described(model) for model in ([self._model(name)] if name else MODELS)]
        body = msgspec.json.encode(found[0] if name else {"object": "list", "data": found})
        return self._broken(Script(200, list(JSON_HEADERS), [body], [0]), request, "", now_ns)

    def answer(self, endpoint: Endpoint, request: Request) -> Script:
        """The answer to a request for text or vectors. Raises `RequestError` when the request is at fault."""
        now_ns = self._clock.monotonic_ns()
        account = self.accounts.open(request.header(b"authorization"), now_ns)
        account.counters.requests += 1
        asked = self._understand(endpoint, account, request.body)
        counters = self.by_model[asked.model.name]
        counters.requests += 1
        choices = [] if asked.model.embeds else self._choices(asked)
        completion_tokens = sum([choice.tokens for choice in choices])
        short = account.quota.admit(asked.prompt_tokens + completion_tokens, now_ns)
        if short is not None:
            account.counters.rate_limited += 1
            counters.rate_limited += 1
            return _over_quota(asked, *short, account.quota.headers(now_ns))
        fault = self.faults.strike(request.path, asked.model.name, request.body, now_ns, stream=asked.fields.stream)
        if fault is not None:
            account.counters.faults += 1
            counters.faults += 1
            if fault.kind.instead:
                return break_script(Script(200, self._headers(asked, now_ns), [b""], [0]), fault)
        self._occurrences.count(asked.digest)
        made = self._generate(asked, choices, completion_tokens)
        _count(made, account.counters, counters)
        write = self._writers.get(endpoint, self._write_embedding)
        script = write(asked, made)
        script.headers += self._headers(asked, now_ns)
        return script if fault is None else break_script(script, fault)

    def _understand(self, endpoint: Endpoint, account: Account, body: bytes) -> Asked:
        fields = parse(endpoint, body)
        model = self._model(fields.model)
        if model.embeds != (endpoint is Endpoint.EMBEDDINGS):
            where = "/v1/embeddings" if model.embeds else "/v1/chat/completions"
            raise InvalidRequestError(f"the model {model.name} is not for this: ask it at {where}", param="model")
        if fields.choices > _MOST_CHOICES:
            raise InvalidRequestError(f"n is {fields.choices}: it must be at most {_MOST_CHOICES}", param="n")
        prompt_tokens = tokens_of(fields.input_chars)
        if prompt_tokens + fields.max_output > model.context:
            raise ContextLengthError(
                f"This model's maximum context length is {model.context} tokens, but {prompt_tokens} in the prompt and "
                f"{fields.max_output} for the reply were asked for: shorten the prompt or the reply",
                param="messages",
            )
        digest = self._chance.digest(body)
        before = self._occurrences.before(digest)
        drawn = self._chance.digest(digest + before.to_bytes(8, "little")) if before else digest
        options = embedding_options(body) if model.embeds else None
        begun = self._begun(endpoint, body)
        return Asked(endpoint, account, model, fields, body, digest, luck(drawn), prompt_tokens, options, begun)

    def _begun(self, endpoint: Endpoint, body: bytes) -> int:
        """How many tokens of the answer the request has begun itself."""
        if self._prefill == "ignore" or endpoint is not Endpoint.CHAT or (text := prefill_of(body)) is None:
            return 0
        if self._prefill == "refuse":
            raise InvalidRequestError(
                "This model goes on with no assistant's message: the last one must be a user's", param="messages"
            )
        return max(len(text) // CHARS_PER_TOKEN, 1)

    def _model(self, name: str) -> SimModel:
        model = self._models.get(name)
        if model is None:
            near = difflib.get_close_matches(name, self._models, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(self._models)}"
            raise UnknownModelError(f"the model {name!r} does not exist{hint}", param="model")
        return model

    def _choices(self, asked: Asked) -> list[Choice]:
        fields = asked.fields
        several = asked.endpoint is Endpoint.COMPLETIONS
        prompts = prompts_of(asked.body) if several else [fields.text]
        if len(prompts) * fields.choices > _MOST_TEXTS:
            raise InvalidRequestError(f"prompts times n must be at most {_MOST_TEXTS}", param="prompt")
        choices = self._author.choices(asked.model, asked.draws, prompts, fields.choices, fields.max_output)
        return [continued(choice, asked.begun) for choice in choices] if asked.begun else choices

    def _generate(self, asked: Asked, choices: list[Choice], completion_tokens: int) -> Generation:
        cached = 0
        if asked.fields.input_chars >= BLOCK_CHARS:
            cached = asked.account.prefixes.see(asked.model.name, prompt_text(asked.body))
        return Generation(
            asked.draws.digest[:12].hex().encode(),
            self._clock.unix_ns() // _SECOND_NS,
            asked.model,
            choices,
            asked.prompt_tokens,
            min(cached, asked.prompt_tokens),
            completion_tokens,
        )

    def _write_chat(self, asked: Asked, made: Generation) -> Script:
        return self._write_classic(asked, made, chat.CHAT)

    def _write_completion(self, asked: Asked, made: Generation) -> Script:
        return self._write_classic(asked, made, chat.COMPLETION)

    def _write_classic(self, asked: Asked, made: Generation, form: chat.Format) -> Script:
        if asked.fields.stream:
            frames = chat.streamed(made, self._prose, form, include_usage=asked.fields.include_usage)
            return self._streamed(asked, made, frames)
        return self._whole(asked, made, chat.whole(made, self._prose, form))

    def _write_response(self, asked: Asked, made: Generation) -> Script:
        if asked.fields.stream:
            return self._streamed(asked, made, responses.streamed(made, self._prose))
        return self._whole(asked, made, responses.whole(made, self._prose))

    def _write_embedding(self, asked: Asked, made: Generation) -> Script:
        assert asked.embedding is not None  # it asks an embedding model
        return self._whole(asked, made, embeddings.body(asked.model.name, asked.embedding, made.prompt_tokens))

    def _whole(self, asked: Asked, made: Generation, body: bytes) -> Script:
        pace = self._paces[asked.model.name]
        due_ns = 0
        if not pace.instant:
            due_ns = pace.first_ns(asked.draws, made.prompt_tokens - made.cached_tokens)
            due_ns += pace.total_ns(asked.draws, made.completion_tokens)
        return Script(200, list(JSON_HEADERS), [body], [due_ns])

    def _streamed(self, asked: Asked, made: Generation, frames: chat.Frames) -> Script:
        pace = self._paces[asked.model.name]
        if pace.instant:
            due_ns = [0] * len(frames.events)
        else:
            first = pace.first_ns(asked.draws, made.prompt_tokens - made.cached_tokens)
            schedule = pace.schedule(asked.draws, made.completion_tokens)
            due_ns = [first + schedule[token] for token in frames.tokens]
        return Script(200, [_STREAM_HEADER], frames.events, due_ns, stream=True, finish_at=frames.finish_at)

    def _headers(self, asked: Asked, now_ns: int) -> list[Header]:
        return [
            (b"x-request-id", b"req_" + asked.draws.digest[:16].hex().encode()),
            *asked.account.quota.headers(now_ns),
        ]

    def _broken(self, script: Script, request: Request, model: str, now_ns: int) -> Script:
        fault = self.faults.strike(request.path, model, request.body, now_ns, stream=False)
        return script if fault is None else break_script(script, fault)


def _count(made: Generation, *counters: Counters) -> None:
    cost_nano = made.model.cost_nano(made.prompt_tokens, made.cached_tokens, made.completion_tokens)
    for each in counters:
        each.answered += 1
        each.prompt_tokens += made.prompt_tokens
        each.cached_tokens += made.cached_tokens
        each.completion_tokens += made.completion_tokens
        each.cost_nano += cost_nano


def _over_quota(asked: Asked, what: str, limit: int, wait_ns: int, headers: list[Header]) -> Script:
    unit = "RPM" if what == "requests" else "TPM"
    if wait_ns < 0:
        message = f"Request too large for {asked.model.name} on {what} per min ({unit}): limit {limit}."
        headers = [*JSON_HEADERS, *headers]
    else:
        seconds = wait_ns / _SECOND_NS
        message = (
            f"Rate limit reached for {asked.model.name} on {what} per min ({unit}): limit {limit}. "
            f"Please try again in {seconds:.3f}s."
        )
        headers = [*JSON_HEADERS, *headers, *retry_headers(wait_ns)]
    return Script(429, headers, [error_body(message, "rate_limit_exceeded", what)], [0])


def _described(model: SimModel) -> dict[str, object]:
    """A model as `/v1/models` lists it, with its prices in dollars for one token, as OpenRouter writes them."""
    prices = {"prompt": model.input_nano, "completion": model.output_nano, "input_cache_read": model.cached_nano}
    return {
        "id": model.name,
        "object": "model",
        "created": _MODELS_CREATED,
        "owned_by": model.owner,
        "context_length": model.context,
        "pricing": {name: f"{nano / 1e9:.9f}".rstrip("0").rstrip(".") for name, nano in prices.items()},
    }
