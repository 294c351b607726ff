"""The front door: what becomes of a request before it is a call."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
import pytest

from ai_client.config.load import load
from ai_client.config.snapshot import App
from ai_client.errors import AIClientError, InvalidRequestError, PermissionDeniedError
from ai_client.model.call import Call
from ai_client.model.reply import Reply
from ai_client.model.request import OTHER, Endpoint
from ai_client.pipeline.observed import Observed
from ai_client.routing.table import ModelTable
from ai_client.service import LOCAL_APP, Ask, Service
from ai_client.testing import CaptureSink, FakeClock, ScriptedProvider, reply, streamed
from tests.calls import BODY
from tests.running import Run
from tests.unit.pipeline.stages import Inside, stream_of

SECOND = 1_000_000_000
CHAT = Ask(Endpoint.CHAT)


class House:
    def __init__(self, answer: Reply | None = None) -> None:
        self.clock = FakeClock(monotonic_ns=100 * SECOND)
        self.sink = CaptureSink()
        self.inside = Inside(answer or reply())
        self.provider = ScriptedProvider()
        config = load(
            None, {"AI_CLIENT_API__API_KEY": "hs_" + "a" * 32, "AI_CLIENT_PERFORMANCE__TOTAL_TIMEOUT": "50"}
        ).config
        table = ModelTable([("p", {"m": "m"})], default="m")
        numbers = count(1)
        pipeline = Observed(self.inside.answer, [self.sink], self.clock)
        self.service = Service(
            config, self.clock, pipeline, table, {"p": self.provider}, lambda: f"made-{next(numbers)}"
        )

    async def ask(self, ask: Ask = CHAT, body: bytes = BODY, app: App = LOCAL_APP) -> Reply:
        return await self.service.answer(ask, body, app, self.service.record(ask, body, app))

    @property
    def call(self) -> Call:
        """The one call that came through."""
        (attempt,) = self.inside.attempts
        return attempt.call


def changed(ask: Ask = CHAT, **fields: Any) -> Ask:
    return msgspec.structs.replace(ask, **fields)


def test_a_request_becomes_a_call(run: Run) -> None:
    house = House()
    run(house.ask(changed(headers=[(b"openai-beta", b"x")])))
    call = house.call
    assert (call.endpoint, call.method, call.path, call.app) == (Endpoint.CHAT, "POST", "/chat/completions", "local")
    assert call.body is BODY
    assert (call.fields.model, call.headers, call.priority, call.cache) == ("m", [(b"openai-beta", b"x")], 5, True)
    assert call.deadline_ns == 150 * SECOND
    record = call.record
    assert (record.request_id, record.endpoint, record.asked_model, record.bytes_in) == (
        "made-1",
        "/chat/completions",
        "m",
        len(BODY),
    )
    assert (record.started_ns, record.unix_ns) == (100 * SECOND, house.clock.unix_ns())


def test_what_the_caller_says_goes_before_what_its_app_says() -> None:
    house = House()
    app = App(name="a", priority=7, tag="team")
    plain = house.service.record(CHAT, BODY, app)
    assert (plain.app, plain.priority, plain.tag) == ("a", 7, "team")
    said = house.service.record(changed(request_id="r9", priority=2, tag="mine"), BODY, app)
    assert (said.request_id, said.priority, said.tag) == ("r9", 2, "mine")


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 50), (3.5, 3.5), (1000.0, 50), (50.0, 50)])
def test_the_deadline(run: Run, timeout: float | None, seconds: float) -> None:
    house = House()
    run(house.ask(changed(timeout=timeout, fresh=True)))
    assert house.call.deadline_ns == (100 + seconds) * SECOND
    assert house.call.cache is False


def test_what_is_passed_through_keeps_its_path_and_is_recorded_without_its_query(run: Run) -> None:
    house = House()
    run(house.ask(Ask(Endpoint.OTHER, "/files?secret=1", "GET"), b""))
    assert (house.call.path, house.call.method, house.call.fields.model) == ("/files?secret=1", "GET", "")
    assert house.call.record.endpoint == "/files"


@pytest.mark.parametrize(
    ("ask", "body", "said"),
    [
        (CHAT, b"{", "not valid JSON"),
        (CHAT, b"", "no body"),
        (changed(priority=11), BODY, "priority is 11"),
        (changed(priority=-1), BODY, "priority is -1"),
        (changed(timeout=0.0), BODY, "timeout is 0"),
        (changed(timeout=-1.0), BODY, "timeout is -1"),
        (changed(timeout=float("nan")), BODY, "timeout is nan"),
        (changed(timeout=float("inf")), BODY, "timeout is inf"),
    ],
)
def test_what_cannot_become_a_call_is_refused_and_recorded(run: Run, ask: Ask, body: bytes, said: str) -> None:
    house = House()
    with pytest.raises(InvalidRequestError, match=said):
        run(house.ask(ask, body))
    assert house.inside.attempts == []
    assert [(record.status, record.error) for record in house.sink.records] == [(400, "invalid_request")]
    assert house.service.in_flight == 0


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        ('"stream":false', True),
        ('"metadata":{"model":"n","a":"\\"model\\":1"}', True),
        ('"model":"m"', False),
        ('"Model":"n"', False),
        ('"mod\\u0065l":"m"', False),
        ('"n":1,"n":2', False),
    ],
)
def test_what_an_app_is_bound_to_cannot_be_read_in_two_ways(run: Run, more: str, allowed: bool) -> None:
    """The provider gets the body as it is, and might take the first of two, or `Model` for `model`."""
    house = House()
    body = BODY[:-1] + b"," + more.encode() + b"}"
    run(house.ask(body=body))
    asked = House().ask(body=body, app=App(name="a", models=("m",)))
    if allowed:
        run(asked)
    else:
        with pytest.raises(InvalidRequestError, match="stands twice"):
            run(asked)


@pytest.mark.parametrize(("model", "allowed"), [("m", True), ("n", False), ("", False)])
def test_an_app_may_be_bound_to_models(run: Run, model: str, allowed: bool) -> None:
    house = House()
    app = App(name="a", models=("m", "k"))
    body = BODY.replace(b'"m"', b'"%b"' % model.encode())
    if allowed:
        run(house.ask(body=body, app=app))
        return
    with pytest.raises(PermissionDeniedError, match="it may use: m, k") as caught:
        run(house.ask(body=body, app=app))
    assert caught.value.param == "model"
    assert [record.status for record in house.sink.records] == [403]


def test_an_app_that_may_use_the_default_model_need_not_name_it(run: Run) -> None:
    house = House()
    app = App(name="a", models=(house.service.config.models.default,))
    run(house.ask(body=BODY.replace(b'"m"', b'""'), app=app))
    with pytest.raises(PermissionDeniedError, match="none named"):  # an upload, say
        run(house.ask(changed(endpoint=OTHER, path="/files"), b"", app))


def test_calls_in_flight_are_counted_until_their_streams_end(run: Run) -> None:
    async def scenario() -> None:
        house = House(streamed(b"a"))
        answer = await house.ask(body=BODY[:-1] + b',"stream":true}')
        assert (house.service.in_flight, house.call.record.stream) == (1, True)
        await stream_of(answer).aclose()
        assert house.service.in_flight == 0

    run(scenario())


def test_refusals_come_at_once_not_when_awaited() -> None:
    house = House()
    record = house.service.record(CHAT, b"{", LOCAL_APP)
    with pytest.raises(AIClientError):
        house.service.answer(CHAT, b"{", LOCAL_APP, record)


def test_its_providers_are_closed_and_retired_with_it() -> None:
    house = House()
    house.service.retire()
    assert (house.provider.retired, house.provider.closed) == (1, 0)
    house.service.close()
    assert (house.provider.retired, house.provider.closed) == (1, 1)
