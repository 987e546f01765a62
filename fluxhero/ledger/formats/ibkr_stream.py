"""The elements of a Flex XML file, one at a time: memory stays flat however long the file is.

Expat is driven directly, without a tree. A document type is refused where it begins, so no entity
is ever declared, expanded or fetched. What the elements mean is not known here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn
from xml.parsers import expat

from fluxhero.errors import BadInputError

ROOT, STATEMENTS, STATEMENT = "FlexQueryResponse", "FlexStatements", "FlexStatement"
_ANSWER = "FlexStatementResponse"
_CHUNK = 1 << 18
_LONGEST = 1 << 22  # bytes of one element; the longest real ones have some 6,000
_DEEPEST = 16  # real files nest six deep
_PARTS = (ROOT, STATEMENTS, STATEMENT)


class Element(NamedTuple):
    """One element of a statement that has attributes, or the statement itself.

    Attributes:
        tag: its name, such as Trade.
        attributes: as IBKR wrote them.
        account: the account the statement is for; "" where it does not say.
        position: the line it begins on; where it is not the line's first, the line and its place.
    """

    tag: str
    attributes: Mapping[str, str]
    account: str
    position: str


def elements(path: Path) -> Iterator[Element]:
    """Yield the elements of a file in their order.

    Raises:
        BadInputError: it is no XML, not whole, has a document type, or is no Flex statement.
    """
    reader = _Reader(path)
    with path.open("rb") as file:
        fed = 0
        while chunk := file.read(_CHUNK):
            fed += len(chunk)
            reader.feed(chunk)
            if fed - reader.consumed > _LONGEST:
                _refuse(path, "has an element of several megabytes", "check what wrote it")
            yield from reader.take()
        reader.finish()
        yield from reader.take()


def _refuse(path: Path, what: str, advice: str) -> NoReturn:
    raise BadInputError(f"{path} {what}", next_step=f"{advice}; nothing was written")


class _Reader:
    """Expat's handlers, and what they collected since the last `take`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._found: list[Element] = []
        self._depth = self._statements = 0
        self._promised: str | None = None
        self._account = ""
        self._line = self._on_line = 0
        self._answer: dict[str, str] | None = None
        self._open = ""

    @property
    def consumed(self) -> int:
        """How many bytes the parser is done with."""
        return max(self._parser.CurrentByteIndex, 0)

    def feed(self, chunk: bytes) -> None:
        """Parse some bytes."""
        self._parse(chunk, last=False)

    def finish(self) -> None:
        """Make sure that the document ended, and with as many statements as it said."""
        self._parse(b"", last=True)
        if self._answer is not None:
            self._refuse_answer(self._answer)
        if self._promised is not None and self._promised != str(self._statements):
            _refuse(
                self._path,
                f"says it has {self._promised} statements and has {self._statements}",
                "fetch the whole file and try again",
            )

    def take(self) -> list[Element]:
        """Hand over the elements found so far."""
        found, self._found = self._found, []
        return found

    def _parse(self, chunk: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError as error:
            words = expat.ErrorString(error.code)
            _refuse(
                self._path,
                f"is not whole or no XML ({words}, line {error.lineno})",
                "fetch the whole file from IBKR and try again",
            )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        depth, self._depth = self._depth, self._depth + 1
        if depth == 0:
            self._root(tag)
        elif self._answer is not None:
            self._open = tag
        elif depth < len(_PARTS):
            self._outer(tag, attributes, depth)
        elif depth >= _DEEPEST:
            _refuse(self._path, f"nests deeper than {_DEEPEST} elements", "check what wrote it")
        elif attributes:
            self._found.append(Element(tag, attributes, self._account, self._position()))

    def _root(self, tag: str) -> None:
        if tag == _ANSWER:
            self._answer = {}
            self._parser.CharacterDataHandler = self._text
        elif tag != ROOT:
            _refuse(
                self._path,
                f"is XML, but no Flex statement (it begins with <{tag[:60]}>, not <{ROOT}>)",
                "export an Activity Flex Query as XML",
            )

    def _outer(self, tag: str, attributes: dict[str, str], depth: int) -> None:
        if tag != _PARTS[depth]:
            return
        if tag == STATEMENTS:
            self._promised = attributes.get("count")
        else:
            self._statements += 1
            self._account = attributes.get("accountId", "")
            self._found.append(Element(tag, attributes, self._account, self._position()))

    def _end(self, _tag: str) -> None:
        self._depth -= 1
        self._open = ""

    def _position(self) -> str:
        line = self._parser.CurrentLineNumber
        self._on_line = self._on_line + 1 if line == self._line else 1
        self._line = line
        return str(line) if self._on_line == 1 else f"{line}.{self._on_line}"

    def _text(self, text: str) -> None:
        if self._answer is not None and self._open:
            self._answer[self._open] = (self._answer.get(self._open, "") + text)[:500]

    def _doctype(self, *_declared: object) -> None:
        _refuse(
            self._path,
            "has a document type, which Flex files never have and attacks use",
            "do not trust the file, and fetch it from IBKR again",
        )

    def _refuse_answer(self, answer: dict[str, str]) -> None:
        if reason := answer.get("ErrorMessage", "").strip():
            code = answer.get("ErrorCode", "").strip()
            _refuse(
                self._path,
                f"is no statement but IBKR's answer that there is none: {reason} ({code})",
                "fetch it again when IBKR has made it",
            )
        _refuse(
            self._path,
            "is no statement but IBKR's receipt for the request of one",
            "fetch the statement by its reference code",
        )
