"""A peer: the parallel processor of OpenAI's cookbook, a copy on each node. It knows nothing of other copies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.peers import FOLDER, SkippedError, litellm
from bench.processes import NotReadyError
from bench.quota.scene import PROMPT, REPLY_TOKENS, WARM_SECONDS, Outcome, Scene
from bench.quota.servers import Watch, judge, used
from bench.workload import MODEL

COMMIT = "04a3090348d4ce2e7977612fdf99b7f906a00b43"
URL = f"https://raw.githubusercontent.com/openai/openai-cookbook/{COMMIT}/examples/api_request_parallel_processor.py"
_FETCH_SECONDS = 20


def play(scene: Scene, parts: int) -> Outcome:
    """So many copies as members have work, each with a `parts`-th of the limit. Raises SkippedError, NotReadyError.

    All work is there from the begin, as much of it as the demand brings in the time.
    """
    script = _script()
    python = litellm() / "bin" / "python"  # its venv has all that the script imports, and the encoding as a file
    encodings = next((python.parents[1]).glob("lib/python3*/site-packages/litellm/litellm_core_utils/tokenizers"))
    outcome = Outcome(scene)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cookbook-")))
        work = folder / "work.jsonl"
        body = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": REPLY_TOKENS}
        work.write_text((json.dumps(body) + "\n") * round(_calls(scene) / scene.workers + 1))
        url = stack.enter_context(judge(scene)).replace("0.0.0.0", "127.0.0.1")
        copies = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("copies.py")), str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TIKTOKEN_CACHE_DIR": str(encodings)},
            start_new_session=True,
        )
        stack.callback(_end, copies)
        begin = _begin(copies, [_arguments(scene, parts, url, work, place) for place in range(scene.workers)])
        with Watch(url) as watch:
            time.sleep(max(0.0, begin + WARM_SECONDS - time.time()))
            first = watch.now()
            time.sleep(max(0.0, begin + scene.seconds - time.time()))
            last = watch.now()
            outcome.judged(*used(scene, first, last), last.answered, last.refused, watch.ahead(scene))
    return outcome


def _calls(scene: Scene) -> float:
    return scene.demand * scene.calls_per_second * scene.seconds


def _arguments(scene: Scene, parts: int, url: str, work: Path, place: int) -> list[str]:
    return [
        f"--requests_filepath={work}",
        f"--save_filepath={work.with_name(f'answers-{place}.jsonl')}",
        f"--request_url={url}/chat/completions",
        "--api_key=sk-bench-of-quota",
        f"--max_requests_per_minute={scene.rpm // parts}",
        f"--max_tokens_per_minute={scene.tpm // parts}",
        "--logging_level=50",
    ]


def _begin(copies: subprocess.Popen[bytes], arguments: list[list[str]]) -> float:
    assert copies.stdin is not None
    assert copies.stdout is not None
    copies.stdin.write(json.dumps(arguments).encode() + b"\n")
    copies.stdin.flush()
    if not copies.stdout.readline():
        raise NotReadyError("the cookbook's script ended before it began")
    begin = time.time() + 2
    copies.stdin.write(f"{begin}\n".encode())
    copies.stdin.flush()
    return begin


def _end(copies: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(copies.pid, signal.SIGKILL)
    copies.wait()


def _script() -> Path:
    """The script, fetched once. It takes https only; the copy that is run takes http as well, and is else as it was."""
    path = FOLDER / "cookbook" / "api_request_parallel_processor.py"
    if not path.exists():
        try:
            with urllib.request.urlopen(URL, timeout=_FETCH_SECONDS) as answer:
                text = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise SkippedError(f"cookbook: {URL} cannot be fetched ({error}); put it at {path}") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    run = path.with_name("with_http.py")
    run.write_text(path.read_text().replace('"^https://[^/]+/v', '"^https?://[^/]+/v'))
    return run
