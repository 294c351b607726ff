"""A program that makes an ordinary program's calls with the official `openai` SDK, whichever version it finds.

`python sdk_calls.py daemon URL` makes them through a daemon; `python sdk_calls.py inside` through `get_client()` and
`get_async_client()`. It prints the SDK's version and what it did, as JSON. test_openai_sdk.py runs it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import openai

from ai_client import get_async_client, get_client

HELLO: Any = [{"role": "user", "content": "Say hello."}]
REFUSES = "claude-sonnet-4.5"
"""The model that is over its quota at the provider."""
BREAKS = "gemini-2.5-flash"
"""The model whose streams break off in the middle."""

COUNTS_NOT = "deepseek-v3.2"
"""The model whose provider gives no usage."""


def chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4.1", messages=HELLO, max_tokens=12, temperature=0.2)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 12


def streaming_chat(client: openai.OpenAI) -> None:
    text, reasons = "", []
    for chunk in client.chat.completions.create(model="gpt-4.1", messages=HELLO, max_tokens=12, stream=True):
        text += chunk.choices[0].delta.content or ""
        reasons.append(chunk.choices[0].finish_reason)
    assert text
    assert reasons[-1] in {"length", "stop"}


def uncounted_stream(client: openai.OpenAI) -> None:
    ask: Any = {"model": COUNTS_NOT, "messages": HELLO, "max_tokens": 12, "stream": True}
    assert all(chunk.choices for chunk in client.chat.completions.create(**ask)), "nobody asked"
    options = {"stream_options": {"include_usage": True}}  # not a parameter of 1.12.0 yet
    *chunks, last = client.chat.completions.create(**ask, extra_body=options)
    assert not last.choices
    assert (last.id, last.model) == (chunks[-1].id, chunks[-1].model)
    usage = last.model_dump()["usage"]
    assert usage["estimated"] is True
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    whole = client.chat.completions.with_raw_response.create(model=COUNTS_NOT, messages=HELLO)
    assert whole.headers["x-ai-client-usage"].startswith("estimated;input=")


def stream_left_early(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
    assert next(iter(stream)).model == "gpt-4.1"
    stream.response.close()
    chat(client)


def broken_stream(client: openai.OpenAI) -> None:
    try:
        for _ in client.chat.completions.create(model=BREAKS, messages=HELLO, max_tokens=30, stream=True):
            pass
    except openai.APIError:
        return
    raise AssertionError("a stream that broke off ended like a whole one")


def raw_response(client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(model="gpt-4.1", messages=HELLO, max_tokens=5)
    assert answer.headers["x-ai-client-target"] == "holysheep/gpt-4.1"
    assert float(answer.headers["x-ai-client-cost-usd"]) > 0
    assert answer.parse().choices


def completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="gpt-4.1", prompt=["a", "b"], max_tokens=5)
    assert [choice.index for choice in answer.choices] == [0, 1]
    pieces = list(client.completions.create(model="gpt-4.1", prompt="a", max_tokens=5, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces)


def embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [len(each.embedding) for each in answer.data] == [1_536, 1_536]
    assert isinstance(answer.data[0].embedding[0], float)


def models(client: openai.OpenAI) -> None:
    assert "gpt-4.1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4.1").id == "gpt-4.1"


def errors(client: openai.OpenAI) -> None:
    calls: list[tuple[type[openai.APIStatusError], str, Callable[[], object]]] = [
        (
            openai.BadRequestError,
            "messages is empty",
            lambda: client.chat.completions.create(model="gpt-4.1", messages=[]),
        ),
        (openai.NotFoundError, "gpt-4.1", lambda: client.chat.completions.create(model="gpt-4", messages=HELLO)),
        (openai.RateLimitError, "", lambda: client.chat.completions.create(model=REFUSES, messages=HELLO)),
        (
            openai.RateLimitError,
            "",
            lambda: client.chat.completions.create(model=REFUSES, messages=HELLO, stream=True),
        ),
        (openai.NotFoundError, "", lambda: client.models.retrieve("nothing")),
    ]
    for kind, says, call in calls:
        try:
            call()
        except kind as raised:
            error = raised
        else:
            raise AssertionError(f"no {kind.__name__}")
        assert says in str(error), error
        assert error.response.json()["error"]["message"]


def responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="gpt-4.1", input="Say hello.", max_output_tokens=40)
    assert answer.output_text
    events = list(client.responses.create(model="gpt-4.1", input="Go on.", stream=True))
    assert events[-1].type == "response.completed"


async def asynchronous(client: openai.AsyncOpenAI) -> None:
    async with client:
        asked = [client.chat.completions.create(model="gpt-4.1", messages=HELLO, max_tokens=n) for n in range(5, 25)]
        answers = await asyncio.gather(*asked)
        assert [answer.usage.completion_tokens for answer in answers if answer.usage] == list(range(5, 25))
        stream = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, max_tokens=12, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text
        left = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
        async for _ in left:
            break
        await left.response.aclose()
        try:
            async for _ in await client.chat.completions.create(
                model=BREAKS, messages=HELLO, max_tokens=30, stream=True
            ):
                pass
        except openai.APIError:
            pass
        else:
            raise AssertionError("a stream that broke off ended like a whole one")
        vectors = await client.embeddings.create(model="text-embedding-3-small", input="a")
        assert len(vectors.data) == 1
        assert [model.id async for model in client.models.list()]
        try:
            await client.chat.completions.create(model="gpt-4", messages=HELLO)
        except openai.NotFoundError as error:
            assert error.status_code == 404  # noqa: PT017  a plain program, without pytest
        else:
            raise AssertionError("no NotFoundError")


def main() -> None:
    """Make every call, and say so."""
    calls = [
        chat,
        streaming_chat,
        uncounted_stream,
        stream_left_early,
        broken_stream,
        raw_response,
        completions,
        embeddings,
        models,
        errors,
    ]
    if hasattr(openai.OpenAI, "responses"):
        calls.append(responses)
    if sys.argv[1] == "daemon":
        options = {"base_url": f"{sys.argv[2]}/v1", "api_key": "any", "max_retries": 0}
        sync_client, async_client = openai.OpenAI(**options), openai.AsyncOpenAI(**options)  # type: ignore[arg-type]
    else:
        sync_client, async_client = get_client(), get_async_client()
    with sync_client as client:
        for call in calls:
            call(client)
    asyncio.run(asynchronous(async_client))
    names = [*(call.__name__ for call in calls), asynchronous.__name__]
    sys.stdout.write(json.dumps({"version": openai.__version__, "did": names}))


if __name__ == "__main__":
    main()
