"""A sample of the bit flips for every run; `make flips` plays all of them."""

from pathlib import Path

from tests.integrity.flips import run


def test_every_flipped_bit_is_found_in_its_file(clean_environment: Path) -> None:
    results = run(14, 20261125, clean_environment)
    assert [flip for flip in results if not flip.found] == []
    assert [flip for flip in results if not flip.named] == []
