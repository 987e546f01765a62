"""Plots over the real service: known by name, to whoever has it, and nothing else of the folder."""

from pathlib import Path

import httpx
import pytest

from fluxhero import plots
from fluxhero.plots import keep_plot, read_plot
from tests.api.asking import asking

PICTURE = b"\x89PNG\r\n\x1a\n and so on"


def test_a_plot_is_shown_to_who_knows_its_name(data: Path) -> None:
    path = keep_plot(data, "evaluation", PICTURE)
    (data / "plots" / "notes.txt").write_text("no")
    (data / "plots" / "folder-0123456789abcdef0123456789abcdef.png").mkdir()
    with asking() as api, httpx.Client(base_url=api.client.base_url, trust_env=False) as stranger:
        shown = stranger.get(f"/plots/{path.name}")
        assert (shown.status_code, shown.content) == (200, PICTURE)
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
        others = [
            "notes.txt",
            "..%2fauth-secret",
            "%2e%2e",
            path.name.replace("evaluation", "check"),
            "folder-0123456789abcdef0123456789abcdef.png",
        ]
        for name in others:
            refused = stranger.get(f"/plots/{name}")
            assert refused.status_code == 404, name
        assert stranger.get("/plots/").status_code == 404
        path.chmod(0)
        path.unlink()
        assert stranger.get(f"/plots/{path.name}").status_code == 404


def test_the_oldest_of_too_many_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_MOST", 2)
    kept = [keep_plot(tmp_path, "evaluation", bytes([number])) for number in range(4)]
    assert len({path.name for path in kept}) == 4
    assert [read_plot(tmp_path, path.name) for path in kept] == [None, None, b"\2", b"\3"]
