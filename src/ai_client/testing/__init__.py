"""For tests of programs that use `ai_client`: a clock to move by hand, a provider with a script, a sink that keeps."""

from __future__ import annotations

from ai_client.testing.capture import CaptureSink
from ai_client.testing.clock import FakeClock
from ai_client.testing.provider import ScriptedProvider, ScriptedStream, reply, streamed

__all__ = ["CaptureSink", "FakeClock", "ScriptedProvider", "ScriptedStream", "reply", "streamed"]
