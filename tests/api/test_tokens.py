"""Which tokens give access, and that a bad one never does."""

import logging
import os
import secrets
import stat
from pathlib import Path

import pytest

from config.settings import Settings
from fluxhero.api.tokens import Tokens, make_secret, previous
from fluxhero.errors import ConfigurationError
from tests.api.server import TOKEN

OTHER = "Zq8-vVw2.other_one~for+testing/91=xK"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def token_in(path: Path) -> bytes:
    return path.read_bytes().strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "short-but-random-9xQ2",
        "a" * 64,
        "abcd1234" * 8,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "changeme-changeme-changeme-changeme-1",
        "my-super-SECRET-key-for-the-api-2026!",
        "FluxHero-Dev-Default-Token-0123456789",
        "please_Replace.This-with-x9Kq2Lm4Pz7",
        "with spaces x9Kq2Lm4Pz7 x9Kq2Lm4Pz8 and",
        "Grüße-x9Kq2Lm4Pz7-Grüße-x9Kq2Lm4Pz8-äöü",
    ],
)
def test_a_token_that_could_be_guessed_is_refused(settings: Settings, text: str) -> None:
    write(settings.auth_secret_file, text)
    for given in (settings, Settings(data_dir=settings.data_dir, auth_secret=f"{TOKEN},{text}")):
        with pytest.raises(ConfigurationError) as refused:
            Tokens(given)
        assert "fluxhero doctor --make-secret" in refused.value.next_step
        assert refused.value.exit_status == 2
        assert not text.strip() or text.strip() not in str(refused.value)


def test_a_file_that_is_missing_open_to_others_or_no_token_is_refused(settings: Settings) -> None:
    file = settings.auth_secret_file
    with pytest.raises(ConfigurationError, match="FLUXHERO_AUTH_SECRET is empty, and there is no"):
        Tokens(settings)
    for mode in (0o640, 0o604, 0o620):
        write(file, TOKEN, mode)
        with pytest.raises(ConfigurationError, match="others than its owner") as refused:
            Tokens(settings)
        assert f"chmod 600 {file}" in refused.value.next_step
    write(file, TOKEN * 200)
    with pytest.raises(ConfigurationError, match="far too large"):
        Tokens(settings)
    write(file, TOKEN)
    write(previous(file), "short")
    with pytest.raises(ConfigurationError, match="previous has 5 characters"):
        Tokens(settings)


def test_tokens_of_the_settings(settings: Settings) -> None:
    tokens = Tokens(Settings(data_dir=settings.data_dir, auth_secret=f" {TOKEN} , {OTHER}"))
    one, two = tokens.principal_of(TOKEN.encode()), tokens.principal_of(OTHER.encode())
    assert one is not None
    assert two is not None
    assert one != two
    assert one.startswith("token-")
    assert len(one) == len("token-12345678")
    for wrong in (b"", TOKEN[:-1].encode(), f"{TOKEN},{OTHER}".encode(), TOKEN.encode() + b"x"):
        assert tokens.principal_of(wrong) is None


def test_made_tokens_are_good_and_rotate_without_a_restart(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    file = settings.auth_secret_file
    mask = os.umask(0)
    try:
        make_secret(file)
        first = token_in(file)
        tokens = Tokens(settings)
        make_secret(file)
    finally:
        os.umask(mask)
    second = token_in(file)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (file, previous(file))} == {0o600}
    assert first != second
    assert tokens.principal_of(first) != tokens.principal_of(second) is not None
    assert tokens.principal_of(first) is not None, "the one before stays valid"

    make_secret(file)
    assert tokens.principal_of(first) is None
    assert tokens.principal_of(second) is not None
    previous(file).unlink()
    assert tokens.principal_of(second) is None
    assert tokens.principal_of(token_in(file)) is not None
    assert not any(t.decode() in caplog.text for t in (first, second, token_in(file)))


def test_a_file_damaged_later_lets_nobody_in_until_it_is_mended(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    file = settings.auth_secret_file
    write(file, TOKEN)
    tokens = Tokens(settings)
    assert tokens.principal_of(TOKEN.encode())
    with caplog.at_level(logging.ERROR):
        file.chmod(0o644)
        assert tokens.principal_of(TOKEN.encode()) is None
        assert tokens.principal_of(TOKEN.encode()) is None
    assert caplog.text.count("no token is valid until this is mended") == 1
    file.unlink()
    assert tokens.principal_of(TOKEN.encode()) is None
    write(file, TOKEN)
    assert tokens.principal_of(TOKEN.encode())


def test_a_token_that_could_not_be_used_does_not_become_the_previous_one(
    settings: Settings,
) -> None:
    write(settings.auth_secret_file, "changeme")
    make_secret(settings.auth_secret_file)
    assert not previous(settings.auth_secret_file).exists()
    assert Tokens(settings).principal_of(token_in(settings.auth_secret_file))


def test_random_tokens_are_never_taken_for_samples(settings: Settings) -> None:
    for text in [secrets.token_urlsafe(32) for _ in range(300)] + [secrets.token_hex(32)] * 20:
        Tokens(Settings(data_dir=settings.data_dir, auth_secret=text))
