"""One is no plural."""

import pytest

from fluxhero.archive.report import RestoreReport
from fluxhero.wording import counted, printable


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2000, "row", "2,000 rows"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
    ],
)
def test_a_count_and_its_noun_agree(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said


def test_a_plural_of_its_own() -> None:
    assert (counted(1, "equity", "equity"), counted(2, "equity", "equity")) == (
        "1 equity",
        "2 equity",
    )


def test_data_moves_no_cursor_and_forges_no_line() -> None:
    assert printable("BRK.B é 日本 100\N{NO-BREAK SPACE}%") == "BRK.B é 日本 100\N{NO-BREAK SPACE}%"
    assert printable("\x1b[2JA\r\nB\N{RIGHT-TO-LEFT OVERRIDE}C") == r"\x1b[2JA\r\nB\u202eC"
    assert printable("a\n\tb\x9b\N{LINE SEPARATOR}", keep="\n\t") == "a\n\tb\\x9b\\u2028"


def test_a_restores_verdict() -> None:
    report = RestoreReport(
        store="s", archive="a", dry_run=True, found={"b": ("k",)}, restored=("k",), hold_until=None
    )
    assert report.verdict == "Dry run: 1 of 1 row would be restored. Nothing was changed."
