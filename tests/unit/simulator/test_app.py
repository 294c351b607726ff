"""The front door: routes, keys, the control plane, what is counted."""

from __future__ import annotations

import pytest

from ai_client.errors import ConfigurationError
from tests.unit.simulator.stage import Stage


@pytest.mark.parametrize("key", [None, "", "hs_wrong"])
def test_a_key_is_needed(key: str | None) -> None:
    stage = Stage(keys=("hs_right",))
    for path, body in (("/v1/models", None), ("/v1/chat/completions", {"model": "gpt-4.1", "messages": []})):
        page = stage.ask(path, body, key=key)
        assert (page.status, page.json["error"]["code"]) == (401, "invalid_api_key")
    assert stage.chat(key="hs_right").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("HEAD", "/v1/models", 200),
        ("GET", "/v1/nonsense", 404),
        ("GET", "/v1/modelsX", 404),
        ("GET", "/", 404),
        ("PUT", "/sim/stats", 405),
        ("GET", "/sim/nothing", 404),
    ],
)
def test_routes_and_methods(method: str, path: str, status: int) -> None:
    assert Stage().ask(path, method=method).status == status


def test_what_is_counted() -> None:
    stage = Stage(rpm=3, reply_tokens=10)
    for key in ("one", "one", "two"):
        stage.chat("12345678", key=key)
    stage.ask("/v1/models", key="one")
    for _ in range(2):
        stage.chat("12345678", key="one")
    stats = stage.ask("/sim/stats", key=None).json
    assert (stats["requests"], stats["answered"], stats["rate_limited"]) == (6, 4, 1)
    assert (stats["prompt_tokens"], stats["completion_tokens"]) == (4 * 5, 4 * 10)
    assert stats["cost_nano"] == 4 * (5 * 140 + 10 * 280)
    assert stats["models"]["deepseek-v3.2"]["requests"] == 5
    assert stats["models"]["gpt-4.1"]["requests"] == 0
    assert [(item["key"], item["requests"], item["rate_limited"]) for item in stats["keys"]] == [
        ("one", 5, 1),
        ("two", 1, 0),
    ]


def test_requests_in_flight() -> None:
    stage = Stage(latency_ms=100)
    stage.chat("a")
    gone = stage.chat("b", stream=True)
    assert (stage.simulator.stats()["in_flight"], stage.simulator.stats()["max_in_flight"]) == (2, 2)
    gone.disconnected()
    assert stage.simulator.stats()["in_flight"] == 1
    stage.clock.advance(1)
    stats = stage.simulator.stats()
    assert (stats["in_flight"], stats["max_in_flight"]) == (0, 2)
    assert stats["uptime_ms"] == 1_000


def test_faults_change_at_run_time() -> None:
    stage = Stage()
    assert stage.ask("/sim/faults", {"faults": ["status:503@every=2", "empty@model=gpt-4.1"]}).json == {
        "faults": ["status:503@every=2", "empty@model=gpt-4.1"]
    }
    assert [stage.chat(str(i)).status for i in range(4)] == [200, 503, 200, 503]
    stats = stage.simulator.stats()
    assert stats["faults_injected"] == {"status": 2}
    assert stats["faults_in_force"] == stage.ask("/sim/faults").json["faults"]
    assert stats["keys"][0]["faults"] == stats["faults"] == 2
    assert stage.ask("/sim/faults", {"faults": []}).status == 200
    assert [stage.chat(str(i)).status for i in range(4)] == [200] * 4


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"faults": "reset"}', b'{"fault": []}', b'{"faults": ["rest"]}', b'"\xff"']
)
def test_a_bad_change_of_faults_changes_nothing(body: bytes) -> None:
    stage = Stage(faults=("empty",))
    page = stage.ask("/sim/faults", body, method="POST")
    assert (page.status, page.json["error"]["param"]) == (400, "faults")
    assert stage.ask("/sim/faults").json == {"faults": ["empty"]}


def test_the_same_from_python() -> None:
    stage = Stage()
    stage.simulator.set_faults(["status:500"])
    assert stage.chat().status == 500
    with pytest.raises(ConfigurationError):
        stage.simulator.set_faults(["nonsense"])
    assert stage.chat().status == 500


def test_a_reset_begins_anew() -> None:
    stage = Stage(rpm=2, faults=("status:500@at=0",))
    first = [stage.chat("a").body for _ in range(3)]
    assert stage.ask("/sim/reset", method="POST").json == {"reset": True}
    stats = stage.simulator.stats()
    assert (stats["requests"], stats["answered"], stats["keys"], stats["faults_injected"]) == (0, 0, [], {})
    assert [stage.chat("a").body for _ in range(3)] == first
