"""The tokens that give access to the operations API: where they come from, which are refused, how they are compared.

A token is never logged, shown or kept: what is kept is its SHA-256.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from config.settings import Settings, variable
from fluxhero.durable import read_bytes, storage_errors, write_atomically
from fluxhero.errors import ConfigurationError, FluxHeroError
from fluxhero.wording import counted

SHORTEST: Final = 32  # bytes
MAKE_ONE: Final = "make one with `fluxhero doctor --make-secret`"

_log = logging.getLogger(__name__)
_FEWEST_CHARACTERS = 8  # different ones
_LARGEST_FILE = 4_096  # bytes
_SAMPLE = re.compile(
    "changeme|changethis|changein|replaceme|replacethis|placeholder|secret|password|passphrase|example"
    "|sample|default|insecure|yourtoken|yourkey|fluxhero|testtoken|authtoken"
)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes

    @property
    def principal(self) -> str:
        return f"token-{self.digest.hex()[:8]}"


class Tokens:
    """The tokens valid now; a file of them is read again when it changes, so that rotation needs no restart.

    Args:
        settings: the tokens themselves, or their file.

    Raises:
        ConfigurationError: there is none, or one that everybody could guess.
    """

    def __init__(self, settings: Settings) -> None:
        self._fixed: tuple[_Token, ...] = ()
        self._file = settings.auth_secret_file
        self._seen: object = None
        self._read: tuple[_Token, ...] = ()
        if settings.auth_secret is not None and settings.auth_secret.get_secret_value().strip():
            texts = settings.auth_secret.get_secret_value().split(",")
            self._fixed = tuple(_checked(text.strip(), _VARIABLE) for text in texts)
        else:
            self._seen = self._identity()
            self._read = _of_files(self._file)

    def principal_of(self, presented: bytes) -> str | None:
        """Whose token this is, by a name that gives nothing away; None if it is not valid.

        The time it takes tells nothing of the tokens: all are compared, in full, by their hash.
        """
        digest = hashlib.sha256(presented).digest()
        found = None
        for token in self._valid():
            if hmac.compare_digest(token.digest, digest):
                found = token.principal
        return found

    def _valid(self) -> tuple[_Token, ...]:
        if self._fixed:
            return self._fixed
        identity = self._identity()
        if identity != self._seen:
            self._seen = identity
            self._read = ()  # nothing is valid that cannot be read now
            try:
                self._read = _of_files(self._file)
                _log.info("the tokens were read again: %s valid", len(self._read))
            except FluxHeroError as error:
                _log.error("no token is valid until this is mended: %s", error)
        return self._read

    def _identity(self) -> object:
        found: list[tuple[int, ...]] = []
        for path in (self._file, previous(self._file)):
            try:
                is_now = path.stat()
                found.append((is_now.st_ino, is_now.st_size, is_now.st_mode, is_now.st_ctime_ns))
            except OSError as error:
                found.append((error.errno or 0,))
        return found


_VARIABLE = variable("auth_secret")


def previous(file: Path) -> Path:
    """Where the token before is kept; it stays valid until the next rotation, or until the file is removed."""
    return file.with_name(f"{file.name}.previous")


def make_secret(file: Path) -> None:
    """Write a new random token; the one there was becomes the previous one, and stays valid.

    Raises:
        StorageIOError: the operating system refuses.
    """
    if file.exists():
        old = read_bytes(file)
        try:
            _checked(old.decode("ascii", "replace").strip(), str(file))
        except ConfigurationError:
            _log.warning("the token in %s could not be used, and is not kept", file)
        else:
            write_atomically(previous(file), old, mode=_OWNER_ONLY)
    write_atomically(file, f"{secrets.token_urlsafe(32)}\n".encode(), mode=_OWNER_ONLY)


def _of_files(file: Path) -> tuple[_Token, ...]:
    before = previous(file)
    return tuple(_of_file(path) for path in (file, before) if path == file or path.exists())


def _of_file(path: Path) -> _Token:
    if not path.exists():
        raise ConfigurationError(
            f"no token is set: {_VARIABLE} is empty, and there is no {path}", next_step=MAKE_ONE
        )
    with storage_errors("read", path), path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        content = stream.read(_LARGEST_FILE + 1)
    if status.st_mode & _OTHERS:
        raise ConfigurationError(
            f"others than its owner may read or change {path}",
            next_step=f"run `chmod 600 {path}`; if others may have read it, {MAKE_ONE}",
        )
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"{path} is far too large for a token", next_step=MAKE_ONE)
    return _checked(content.decode("ascii", "replace").strip(), str(path))


def _checked(text: str, where: str) -> _Token:
    """The token, if nobody can guess it.

    Raises:
        ConfigurationError: saying what is wrong with it, without showing it.
    """
    if problem := _problem(text):
        raise ConfigurationError(f"the token in {where} {problem}", next_step=MAKE_ONE)
    return _Token(hashlib.sha256(text.encode()).digest())


def _problem(text: str) -> str | None:
    if not text:
        return "is empty"
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        return "has characters that no header may have"
    if len(text) < SHORTEST:
        return f"has {counted(len(text), 'character')}, fewer than {SHORTEST}"
    if _SAMPLE.search(re.sub(r"[^a-z]", "", text.lower())):
        return "is a sample"
    if len(set(text)) < _FEWEST_CHARACTERS or _repeats(text) or _counts_on(text):
        return "is easily guessed"
    return None


def _repeats(text: str) -> bool:
    """Whether it is a short text over and over."""
    return any(text[length:] == text[:-length] for length in range(1, len(text) // 2 + 1))


def _counts_on(text: str) -> bool:
    """Whether most characters follow the one before as in the alphabet."""
    steps = [ord(b) - ord(a) for a, b in pairwise(text)]
    return sum(abs(step) <= 1 for step in steps) > len(steps) / 2
