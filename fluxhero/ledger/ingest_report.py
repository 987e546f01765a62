"""What an ingest run brought in, as data and as text. Rendering only; publishing is elsewhere."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from fluxhero.ledger.ingest import IngestResult
from fluxhero.markdown import page, points, table_of
from fluxhero.wording import counted

_MOST_LINES = 200
_MOST_NAMED = 5
_COUNTS = ("inserted", "updated", "unchanged", "stale", "quarantined", "refused_before")


class IngestLine(BaseModel):
    """What one file brought into one table."""

    model_config = ConfigDict(frozen=True)

    file: str
    format: str
    table: str
    inserted: int
    updated: int
    unchanged: int
    stale: int
    quarantined: int
    refused_before: int

    @property
    def empty(self) -> bool:
        """Whether the file had no row for the table."""
        return not any(getattr(self, count) for count in _COUNTS)


class RefusedFile(BaseModel):
    """A file that could not be used at all; nothing of it went in."""

    model_config = ConfigDict(frozen=True)

    file: str
    reason: str


class IngestReport(BaseModel):
    """Outcome of `ingest_trades`; `skipped` are files in a folder that no format recognises."""

    model_config = ConfigDict(frozen=True)

    store: str
    lines: tuple[IngestLine, ...] = ()
    refused_files: tuple[RefusedFile, ...] = ()
    skipped: tuple[str, ...] = ()

    def total(self, count: str) -> int:
        """Sum of one count over all files."""
        return sum(getattr(line, count) for line in self.lines)

    @property
    def ok(self) -> bool:
        """Whether every file and every row could be used, or was known to be unusable before."""
        return not self.refused_files and not self.total("quarantined")

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        files = len({line.file for line in self.lines if not line.empty})
        source = counted(files, "file")
        new, changed, known = (self.total(name) for name in ("inserted", "updated", "unchanged"))
        if new or changed:
            text = f"Ingested {new:,} new and {counted(changed, 'changed row')} from {source}"
            text += f"; known already: {known:,}." if known else "."
        elif known:
            whole = "" if self._left_out else "all "
            text = (
                f"Nothing new: the ledger has {whole}{counted(known, 'row')} of {source} already."
            )
        else:
            text = f"Nothing came in from {source}." if files else "Nothing came in."
        if quarantined := self.total("quarantined"):
            text += f" {counted(quarantined, 'row')} went to quarantine."
        if before := self.total("refused_before"):
            text += f" Not in, for they are in quarantine from before: {counted(before, 'row')}."
        if empty := self._empty_files:
            hold = "holds" if len(empty) == 1 else "hold"
            text += f" {_named(empty)} {hold} no rows."
        if self.refused_files:
            text += f" {counted(len(self.refused_files), 'file')} refused."
        return text

    @property
    def _left_out(self) -> int:
        return sum(self.total(name) for name in ("stale", "quarantined", "refused_before"))

    @property
    def _empty_files(self) -> list[str]:
        return [line.file for line in self.lines if line.empty]

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        lines = [f"Store: {self.store}"]
        if stale := self.total("stale"):
            lines.append(f"Older than what the ledger has, left out: {stale:,}")
        if self.total("quarantined") or self.total("refused_before"):
            lines.append(
                'Quarantine: fluxhero query "SELECT rule, reason, source FROM quarantine '
                'ORDER BY at DESC"'
            )
        lines += [f"Refused: {refused.reason}" for refused in self.refused_files[:_MOST_LINES]]
        if self.skipped:
            lines.append(f"Skipped, in no format this product knows: {_named(self.skipped)}")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Files as rows of a table, at most 200."""
        return [dict(line.model_dump()) for line in self.lines[:_MOST_LINES]]

    def markdown(self) -> str:
        """The whole report for a page."""
        brought = [_brought(line) for line in self.lines[:_MOST_LINES] if not line.empty]
        return page(
            self.verdict,
            ("What is wrong, and what to do", points(self._to_do())),
            ("What each file brought", [table_of(brought)]),
            ("Facts", points(self.details())),
        )

    def _to_do(self) -> list[str]:
        lines = []
        if quarantined := self.total("quarantined"):
            lines.append(
                f"{counted(quarantined, 'row')} could not be used, each for a reason that the quarantine "
                "names; ingest the corrected file again, what is known already is left as it is"
            )
        lines += [
            f"Refused, and nothing of it went in: {refused.reason}"
            for refused in self.refused_files[:_MOST_LINES]
        ]
        return lines


def _brought(line: IngestLine) -> dict[str, str | int]:
    return {
        "file": line.file,
        "table": line.table,
        "new": line.inserted,
        "changed": line.updated,
        "known": line.unchanged,
        "quarantined": line.quarantined,
    }


def ingest_lines(results: Sequence[IngestResult]) -> tuple[IngestLine, ...]:
    """A line for each file and table."""
    return tuple(
        IngestLine(
            file=str(result.path),
            format=result.format,
            table=table,
            inserted=count.inserted,
            updated=count.updated,
            unchanged=count.unchanged,
            stale=count.stale,
            quarantined=count.quarantined,
            refused_before=count.refused_before,
        )
        for result in results
        for table, count in result.counts.items()
    )


def _named(files: Sequence[str]) -> str:
    more = len(files) - _MOST_NAMED
    return ", ".join(files[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
