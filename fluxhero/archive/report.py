"""What an archive or restore run did, as data and as text. Rendering only; publishing is elsewhere."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from fluxhero.archive.batches import Refusal
from fluxhero.ledger.rejected import Rejected
from fluxhero.markdown import page, points, table_of
from fluxhero.wording import counted

_MOST_SHOWN = 10
_MOST_LISTED = 100


class BatchLine(BaseModel):
    """One batch of a report: planned (dry run) or published."""

    model_config = ConfigDict(frozen=True)

    table: str
    mode: str
    month: str
    rows: int
    correction: bool = False
    batch: str | None = None
    bytes: int | None = None
    file: str | None = None
    sha256: str | None = None


class RefusedLine(BaseModel):
    """Something that was not moved, and why."""

    model_config = ConfigDict(frozen=True)

    what: str
    reason: str
    rule: str


class ArchiveReport(BaseModel):
    """Outcome of `archive_trades`.

    `refused` lists every row and batch that should have moved and did not; `news` says whether any of
    them was not known before, which is what makes a run end with exit status 1.
    """

    model_config = ConfigDict(frozen=True)

    store: str
    archive: str
    cutoff: datetime
    retention_days: int
    dry_run: bool
    copy_only: bool
    batches: tuple[BatchLine, ...] = ()
    purged: int = 0
    purge_only: int = 0
    late_corrections: tuple[str, ...] = ()
    held: int = 0
    undated: int = 0
    refused: tuple[RefusedLine, ...] = ()
    news: bool = False
    recovered_purges: int = 0
    discarded: tuple[str, ...] = ()
    quarantined_files: tuple[str, ...] = ()
    store_copy: str | None = None
    mirror: str | None = None
    mirrored: int = 0
    mirror_problems: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows archived, or that would be."""
        return sum(batch.rows for batch in self.batches)

    @property
    def ok(self) -> bool:
        """Whether nothing new went wrong."""
        return not (self.news or self.quarantined_files or self.mirror_problems)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        moved = f"{counted(self.rows, 'row')} in {counted(len(self.batches), 'batch')}"
        if self.dry_run:
            text = f"Dry run: {moved} would move"
            if self.purge_only:
                text += f", {self.purge_only:,} would only be purged"
            if self.refused:
                text += f", {len(self.refused):,} would be refused"
            return f"{text}. Nothing was changed."
        if self.copy_only:
            text = f"Copied and verified {moved}; nothing was purged."
        elif not self.batches and not self.purged:
            text = "Nothing new was due."
        else:
            text = f"Archived {moved}; purged {counted(self.purged, 'row')} from the hot store."
        if self.refused:
            text += f" {len(self.refused):,} refused."
        if self.recovered_purges:
            purged = counted(self.recovered_purges, "row")
            text += f" Purged {purged} that an earlier run had archived."
        if self.mirror_problems:
            text += " The mirror is not complete."
        return text

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        return [*self._facts(), *self._first_refused()]

    def _first_refused(self) -> list[str]:
        lines = [f"Refused: {line.what}: {line.reason}" for line in self.refused[:_MOST_SHOWN]]
        more = len(self.refused) - _MOST_SHOWN
        if more > 0:  # a dry run puts nothing into the quarantine
            where = "--json lists all" if self.dry_run else 'fluxhero query "FROM quarantine"'
            lines.append(f"Refused: and {more:,} more; {where}")
        return lines

    def _facts(self) -> list[str]:
        retention = counted(self.retention_days, "day")
        lines = [
            f"Store: {self.store}",
            f"Archive: {self.archive}",
            f"Cut-off: closed before {self.cutoff:%Y-%m-%d %H:%M} UTC (retention {retention})",
        ]
        if self.batches and not self.dry_run:
            lines.append(
                "Verified: every file was hashed from disk, read back with page checksums, and each value "
                "compared with the store before anything was purged"
            )
        if self.held:
            lines.append(f"On hold, stays hot: {self.held:,}")
        if self.undated:
            lines.append(f"Dated by their last update, having no exit time: {self.undated:,}")
        if self.late_corrections:
            shown = ", ".join(self.late_corrections[:5])
            lines.append(f"Changed after they were archived, stay hot until the next run: {shown}")
        if self.store_copy:
            lines.append(f"Copy of the store made before its first purge: {self.store_copy}")
        if self.mirror and not self.dry_run:
            lines.append(f"Mirror: {self.mirror}, {counted(self.mirrored, 'file')} copied")
        lines += [f"Not mirrored: {problem}" for problem in self.mirror_problems[:_MOST_SHOWN]]
        lines += [
            f"Discarded leftover of an interrupted run: {path}" for path in self.discarded[:5]
        ]
        lines += [f"Moved to quarantine: {path}" for path in self.quarantined_files]
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Batches as rows of a table, at most 200."""
        return [
            {
                "table": line.table,
                "mode": line.mode,
                "month": line.month,
                "rows": line.rows,
                "kind": "correction" if line.correction else "first version",
                "bytes": line.bytes or "",
                "file": line.file or "(dry run)",
                "sha256": (line.sha256 or "")[:16],
            }
            for line in self.batches[:200]
        ]

    def markdown(self) -> str:
        """The whole report for a page."""
        return page(
            self.verdict,
            ("What is wrong, and what to do", points(self._to_do())),
            ("What would move" if self.dry_run else "What moved", [table_of(self._by_mode())]),
            ("Facts", points(self._facts())),
            ("Refused", points(f"{r.what}: {r.reason}" for r in self.refused[:_MOST_LISTED])),
        )

    def _to_do(self) -> list[str]:
        lines = []
        if self.refused:
            kept = (
                ""
                if self.dry_run
                else '; they are in the quarantine: `fluxhero query "FROM quarantine"`'
            )
            lines.append(
                f"{counted(len(self.refused), 'row or batch', 'rows or batches')} stayed in the store{kept}. "
                "Correct them where they came from; the next run takes them"
            )
        if self.mirror_problems:
            lines.append(
                f"The mirror lacks {counted(len(self.mirror_problems), 'file')}: see that {self.mirror} can "
                "be written; the next run copies what is missing"
            )
        if self.quarantined_files:
            lines.append(
                f"{counted(len(self.quarantined_files), 'file')} of an interrupted run differ from the store: "
                "`fluxhero check` says what they hold"
            )
        return lines

    def _by_mode(self) -> list[dict[str, object]]:
        """What moved, by table and mode."""
        parts: dict[tuple[str, str], list[BatchLine]] = {}
        for line in self.batches:
            parts.setdefault((line.table, line.mode), []).append(line)
        return [
            {
                "table": table,
                "mode": mode,
                "closed in": _months([line.month for line in lines]),
                "batches": len(lines),
                "rows": sum(line.rows for line in lines),
            }
            for (table, mode), lines in sorted(parts.items())
        ]


def _months(months: Sequence[str]) -> str:
    first, last = min(months), max(months)
    return first if first == last else f"{first} to {last}"


class RestoreReport(BaseModel):
    """Outcome of `restore_trades`; without an end of the hold there was none."""

    model_config = ConfigDict(frozen=True)

    store: str
    archive: str
    dry_run: bool
    found: dict[str, tuple[str, ...]]
    restored: tuple[str, ...] = ()
    already_hot: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    hold_until: datetime | None
    mirror_problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything asked for is hot now, and the mirror kept; a dry run only tells."""
        return self.dry_run or not (self.refused or self.mirror_problems)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        rows = sum(len(keys) for keys in self.found.values())
        if not rows:
            dry = "Dry run: n" if self.dry_run else "N"
            return f"{dry}othing in the archive matches; nothing was changed."
        if self.dry_run:
            text = f"Dry run: {len(self.restored):,} of {counted(rows, 'row')} would be restored."
            return f"{text}{self._others()} Nothing was changed."
        text = f"Restored {len(self.restored):,} of {counted(rows, 'row')}"
        if self.restored or self.already_hot:
            text += (
                f"; on hold until {self.hold_until:%Y-%m-%d}"
                if self.hold_until
                else "; not on hold"
            )
        return f"{text}.{self._others()}"

    def _others(self) -> str:
        text = f" Hot already: {len(self.already_hot):,}." if self.already_hot else ""
        if self.refused:
            text += f" Refused: {len(self.refused):,}, for the hot row differs or its id is taken."
        return text

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        refused = [f"Refused: {key}" for key in self.refused[:100]]
        problems = [f"Not mirrored: {problem}" for problem in self.mirror_problems[:_MOST_SHOWN]]
        return [f"Store: {self.store}", f"Archive: {self.archive}", *problems, *refused]

    def table(self) -> list[dict[str, str | int]]:
        """Rows by batch, at most 200."""
        return [
            {"batch": batch, "rows": len(keys), "first": keys[0]}
            for batch, keys in list(self.found.items())[:200]
        ]

    def markdown(self) -> str:
        """The whole report for a page."""
        found = [table_of(self.table()[:_MOST_SHOWN])]
        return page(self.verdict, ("Facts", points(self.details())), ("Found in", found))


def refused_lines(rows: Sequence[Rejected], batches: Sequence[Refusal]) -> tuple[RefusedLine, ...]:
    """Refused batches and rows in one list; batches first, since the quarantine lists rows only."""
    return (
        *(
            RefusedLine(what=refusal.what, reason=refusal.reason, rule="batch")
            for refusal in batches
        ),
        *(RefusedLine(what=row.position, reason=row.reason, rule=row.rule) for row in rows),
    )
