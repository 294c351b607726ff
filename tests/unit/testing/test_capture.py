"""A sink that keeps what it hears."""

from __future__ import annotations

from ai_client.model.events import AttemptFailed
from ai_client.testing import CaptureSink
from tests.calls import make_record


def test_it_keeps_what_it_hears_as_it_was() -> None:
    sink = CaptureSink()
    record = make_record(status=200)
    sink.finished(record)
    record.status = 500
    failure = AttemptFailed("r1", "p/m", 1, "upstream_error", 502, "broken", -1)
    sink.attempt_failed(failure)
    assert not sink.closed
    sink.close()
    assert [each.status for each in sink.records] == [200]
    assert sink.failures == [failure]
    assert sink.closed
