"""A program of the node: asks its daemon at a steady rate until its standard input ends; then prints a line of JSON.

It is sent to the nodes as it stands, so it needs the standard library only. Each question has a connection of its own,
as that of a program which is started anew each time.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time

_TIMEOUT_S = 15.0
_HOST, _PORT = "127.0.0.1", 8089


def _ask(number: int, seconds: list[float], failed: list[str]) -> None:
    body = json.dumps(
        {
            "model": "deepseek-v3.2",
            "messages": [{"role": "user", "content": f"Question {number} at {time.time()}"}],
            "max_tokens": 8,
            "stream": number % 4 == 0,
        }
    )
    begun = time.monotonic()
    connection = http.client.HTTPConnection(_HOST, _PORT, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        read = answer.read()
        if answer.status != 200 or (number % 4 == 0 and b"[DONE]" not in read):
            raise OSError(f"status {answer.status}: {read[-200:]!r}")
    except (OSError, http.client.HTTPException) as error:
        failed.append(f"{type(error).__name__} {error}"[:300])
    else:
        seconds.append(time.monotonic() - begun)
    finally:
        connection.close()


def _wait_for_the_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(rate: float) -> None:
    """Ask `rate` times a second."""
    ended = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(ended,), daemon=True).start()
    seconds: list[float] = []
    failed: list[str] = []
    asking: list[threading.Thread] = []
    begun = time.monotonic()
    number = 0
    while not ended.wait(max(0.0, begun + number / rate - time.monotonic())):
        asking = [thread for thread in asking if thread.is_alive()]
        asking.append(threading.Thread(target=_ask, args=(number, seconds, failed)))
        asking[-1].start()
        number += 1
    for thread in asking:
        thread.join()
    sys.stdout.write(json.dumps({"seconds": seconds, "failed": failed}) + "\n")


if __name__ == "__main__":
    main(float(sys.argv[1]))
