"""Alerts as messages: they fit, and what is in them is shown as it is."""

import pytest

from fluxhero.alerts.wording import cut, for_scheme, message
from tests.alerts.telling import NOW, incident


def test_what_to_do_is_never_cut_off() -> None:
    said = message([incident(text="figures " * 2_000, title="t" * 500)], 600)
    assert len(said.body) <= 600
    assert "What to do: make room, then run `fluxhero archive`" in said.body
    assert "…" in said.body
    assert said.title.endswith("…")
    assert len(said.title) == 160


def test_a_target_with_little_room() -> None:
    assert len(message([incident()], 80).body) <= 80
    assert len(message([incident(str(number)) for number in range(30)], 100).body) <= 100


def test_what_is_in_it_moves_no_cursor() -> None:
    said = message([incident(title="a\nb\x1b[2J", text="one\ntwo\x07", next_step="x\ny")])
    assert said.title == "Critical: a b\\x1b[2J"
    assert said.body.startswith("one\ntwo\\x07\n")
    assert "What to do: x y" in said.body


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*.parquet of my_run_1 <b>", r"\*.parquet of my\_run\_1 <b\>"),
        ("@everyone > look", "@\u200beveryone \\> look"),
        ("run `fluxhero archive_now`", "run `fluxhero archive_now`"),
        ("at http://host/a_b_c now_now", r"at http://host/a_b_c now\_now"),
        ("`@here` and a ` alone", "`@\u200bhere` and a \\` alone"),
    ],
)
def test_discord_shows_text_as_it_is(text: str, shown: str) -> None:
    assert for_scheme(text, "discord") == shown
    assert for_scheme(text, "json") == text


def test_cutting() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abc def", 5) == "abc…"
    assert cut("abc", 0) == "…"


def test_several_are_counted_by_urgency() -> None:
    said = message([incident("a"), incident("b", at=NOW)])
    assert said.title == "Critical: 2 alerts at once (2 critical)"
