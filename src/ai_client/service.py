"""The pipeline and what it runs on: made by `build`, used by the library and the daemon alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ai_client.clock import Clock
from ai_client.config.snapshot import App, Config
from ai_client.errors import AIClientError, InvalidRequestError, PermissionDeniedError
from ai_client.limits.admission import Admission
from ai_client.model.call import Call, Headers
from ai_client.model.parse import parse, reads_one_way
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.model.request import OTHER, Endpoint, Fields
from ai_client.pipeline.observed import Observed
from ai_client.providers.base import Provider
from ai_client.routing.table import ModelTable

_NO_FIELDS = Fields("")
LOCAL_APP = App(name="local")
"""Who calls when nobody had to say who they are: a program on this node, or this process itself."""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A request at the front door, but for its body: what its head says.

    `path` is below the provider's base URL. `timeout` is in seconds, None for the configured one; `priority` is
    1 to 10, 0 for the app's own. `fresh` asks for an answer that no cache gives. `commit` is `first_content` or `whole`
    (a streamed answer held until it is whole), empty for the app's own.
    """

    endpoint: Endpoint
    path: str = ""
    method: str = "POST"
    headers: Headers = []
    request_id: str = ""
    priority: int = 0
    timeout: float | None = None
    fresh: bool = False
    tag: str = ""
    commit: str = ""


_WHOLE: Final[Mapping[str, bool]] = {"first_content": False, "whole": True}


class Service:
    """One configuration, at work. A reload makes another; calls under way keep the one they began with.

    `limits` tells how every limit stands, as JSON can write it; `circuits` each target's circuit, in a word,
    `refused_keys` the seconds for which a key that was refused is left out of its pool.
    `admission` is None where there is no bound on what is under way.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        pipeline: Observed,
        table: ModelTable,
        providers: Mapping[str, Provider],
        make_id: Callable[[], str],
    ) -> None:
        self.config = config
        self.table = table
        self.providers = providers
        self.limits: Callable[[], Mapping[str, Any]] = dict
        self.circuits: Callable[[], Mapping[str, str]] = dict
        self.refused_keys: Callable[[], Mapping[str, float]] = dict
        self.admission: Admission | None = None
        self._clock = clock
        self._pipeline = pipeline
        self._send = pipeline.__call__
        self._make_id = make_id
        self._total_ns = int(config.performance.total_timeout * 1e9)

    @property
    def in_flight(self) -> int:
        """Calls begun and not yet over, streams included."""
        return self._pipeline.in_flight

    @property
    def held_bytes(self) -> int:
        """Bytes of the bodies of these calls."""
        return self._pipeline.held_bytes

    def record(self, ask: Ask, body: bytes, app: App) -> Record:
        """Open the record of a call."""
        clock = self._clock
        return Record(
            ask.request_id or self._make_id(),
            ask.endpoint or ask.path.partition("?")[0],
            app.name,
            ask.tag or app.tag,
            ask.priority or app.priority,
            False,
            clock.monotonic_ns(),
            clock.unix_ns(),
            bytes_in=len(body),
        )

    def answer(self, ask: Ask, body: bytes, app: App, record: Record) -> Awaitable[Reply]:
        """Take a request through the pipeline. Raises the errors of `ai_client.errors`, at once or when awaited."""
        try:
            if self.admission is not None:
                pipeline = self._pipeline
                self.admission.admit(pipeline.in_flight, pipeline.held_bytes, record.bytes_in, record.priority)
            call = self._call(ask, body, app, record)
        except AIClientError as error:
            self._pipeline.refused(record, error)
            raise
        return self._send(call)

    def close(self) -> None:
        """Close every connection now."""
        for provider in self.providers.values():
            provider.close()

    def retire(self) -> None:
        """Another service has taken over: calls under way end here, nothing is kept after them."""
        for provider in self.providers.values():
            provider.retire()

    def _call(self, ask: Ask, body: bytes, app: App, record: Record) -> Call:
        endpoint = ask.endpoint
        fields = parse(endpoint, body) if body or endpoint is not OTHER else _NO_FIELDS
        record.asked_model = record.model = fields.model
        record.stream = fields.stream
        if app.models:
            # who names none asks for the default model; what is passed through asks for nobody knows what
            asked = fields.model or (self.config.models.default if endpoint is not OTHER else "")
            if asked not in app.models:
                _refuse_model(app, asked)
            if not reads_one_way(body):
                raise InvalidRequestError(
                    "a member of the request body stands twice: the provider may read another model"
                )
        if not 1 <= record.priority <= 10:
            raise InvalidRequestError(f"the priority is {record.priority}: it runs from 1 (last) to 10 (first)")
        whole: bool | None = None
        if commit := ask.commit or app.commit:
            whole = _WHOLE.get(commit)
            if whole is None:
                name = "x-ai-client-commit"
                raise InvalidRequestError(f"{name} is {commit!r}: it is first_content or whole", param=name)
        timeout_ns = self._total_ns
        if ask.timeout is not None:
            if not 0 < ask.timeout < 1e6:
                raise InvalidRequestError(f"the timeout is {ask.timeout:g}: it is a number of seconds above 0")
            timeout_ns = min(timeout_ns, int(ask.timeout * 1e9))
        return Call(
            endpoint,
            ask.method,
            endpoint or ask.path,
            body,
            fields,
            ask.headers,
            record.started_ns + timeout_ns,
            record.priority,
            app.name,
            record,
            not ask.fresh,
            whole,
        )


def _refuse_model(app: App, model: str) -> None:
    allowed: Sequence[str] = app.models
    raise PermissionDeniedError(
        f"the app {app.name!r} may not use the model {model or '(none named)'!r}; it may use: {', '.join(allowed)}",
        param="model",
    )
