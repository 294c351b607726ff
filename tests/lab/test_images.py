"""Where the base images come from and go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.images import folder, mirror


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "sources.list.d/debian.sources",
            "Types: deb\nURIs: https://a.example/debian/\n",
            ("https://a.example/debian/",),
        ),
        ("sources.list", "deb [signed-by=/x] http://b.example/debian bookworm main\n", ("http://b.example/debian",)),
        ("sources.list", "deb http://b.example/debian-security bookworm main\n", ()),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(name: str, text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "ascii")
    assert mirror(tmp_path) == expected


def test_the_images_are_kept_where_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_IMAGES", "/srv/images")
    assert folder() == Path("/srv/images")
    monkeypatch.delenv("LAB_IMAGES")
    monkeypatch.setenv("XDG_CACHE_HOME", "/srv/cache")
    assert folder() == Path("/srv/cache/ai-client-lab")
