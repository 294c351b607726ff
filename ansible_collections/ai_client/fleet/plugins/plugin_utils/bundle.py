"""Bundles, as `ai-client bundle` writes them: a `bundle.json` and an archive for each Python and architecture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


class BundleError(Exception):
    """The bundle cannot be used; the text says why."""


@dataclass(frozen=True)
class Release:
    """A release that can be sent: where its archive is, and what it is for."""

    id: str
    python: str
    arch: str
    archive: str
    sha256: str


def choose(folder: str, python: str, arch: str, version: str) -> Release:
    """The release of a bundle for a node. Raises `BundleError` when there is none."""
    path = Path(folder) / "bundle.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != 1:
            raise BundleError(f"{path} is of format {told['format']}; this collection reads format 1")
        found = [each for each in told["releases"] if (each["python"], each["arch"]) == (python, arch)]
        if version and told["version"] != version:
            raise BundleError(f"ai_client_version is {version}, and the bundle {folder} holds {told['version']}")
        if not found:
            there = ", ".join(f"Python {each['python']} on {each['arch']}" for each in told["releases"])
            raise BundleError(f"the node has Python {python} on {arch}, and the bundle {folder} is for {there}")
        one = found[0]
        return Release(one["id"], python, arch, str(path.parent / one["file"]), one["sha256"])
    except OSError as error:
        raise BundleError(
            f"there is no bundle at {path} ({error.strerror}): make one with `ai-client bundle`, and name its folder in"
            " ai_bundle"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a bundle: {error!r}") from None
