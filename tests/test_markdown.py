"""Pages of markdown: the answer first, and no heading without anything below it."""

from fluxhero.markdown import page, points, table_of


def test_the_answer_first_and_no_empty_section() -> None:
    text = page(
        "All is well.",
        ("What to do", []),
        ("Figures", [table_of([{"a": 1, "b": "x|y"}])]),
        ("Nothing", [table_of([])]),
        ("", points(["one", "two"])),
    )
    assert text == (
        "**All is well.**\n\n### Figures\n\n| a | b |\n|---|---|\n| 1 | x\\|y |\n\n- one\n- two"
    )
