"""What an ingest run brought in, as data and as text. Rendering only; publishing is elsewhere."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from fluxhero.ledger.ingest import IngestResult
from fluxhero.wording import counted

_MOST_LINES = 200


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
        source = counted(len({line.file for line in self.lines}), "file")
        new, changed, known = (self.total(name) for name in ("inserted", "updated", "unchanged"))
        if new or changed:
            text = f"Ingested {new:,} new and {counted(changed, 'changed row')} from {source}"
            text += f"; known already: {known:,}." if known else "."
        elif known:
            text = f"Nothing new: the ledger has {counted(known, 'row')} of {source} already."
        else:
            text = f"Nothing came in from {source}."
        if quarantined := self.total("quarantined"):
            text += f" {counted(quarantined, 'row')} went to quarantine."
        if self.refused_files:
            text += f" {counted(len(self.refused_files), 'file')} refused."
        return text

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        lines = [f"Store: {self.store}"]
        if stale := self.total("stale"):
            lines.append(f"Older than what the ledger has, left out: {stale:,}")
        if self.total("quarantined"):
            lines.append(
                'Quarantine: fluxhero query "SELECT rule, reason, source FROM quarantine '
                'ORDER BY at DESC"'
            )
        lines += [f"Refused: {refused.reason}" for refused in self.refused_files[:_MOST_LINES]]
        if self.skipped:
            shown = ", ".join(self.skipped[:5])
            more = f" and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""  # noqa: PLR2004
            lines.append(f"Skipped, in no format this product knows: {shown}{more}")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Files as rows of a table, at most 200."""
        return [dict(line.model_dump()) for line in self.lines[:_MOST_LINES]]

    def markdown(self) -> str:
        """The whole report for a page."""
        return "\n".join([f"**{self.verdict}**", "", *(f"- {line}" for line in self.details())])


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
        )
        for result in results
        for table, count in result.counts.items()
    )
