"""The matrix's figures, as JSON and as a page of Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.crash.bench import Result


def table(results: Sequence[Result]) -> str:
    """Markdown: kills, recoveries and violations by store, operation and kind of kill."""
    lines = [
        "| store | operation | killed | scenarios | kills | recovered | looks of the reader | violations |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.store, result.operation, result.kind), []).append(result)
    words = {
        "boundary": "at a boundary",
        "instant": "at a random instant",
        "chain": "three runs in a row",
    }
    for (store, operation, kind), found in sorted(groups.items()):
        lines.append(f"| {store} | {operation} | {words[kind]} | {_figures(found)} |")
    lines.append(f"| **all** | | | {_figures(results)} |")
    return "\n".join(lines)


def _figures(results: Sequence[Result]) -> str:
    return " | ".join(
        str(number)
        for number in (
            len(results),
            sum(r.kills for r in results),
            sum(r.recovered for r in results),
            sum(r.looks for r in results),
            sum(bool(r.violations) for r in results),
        )
    )


def write_report(results: Sequence[Result], out: Path, command: str, seconds: float) -> None:
    """Write `out` and the page beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    boundaries = sorted({p.split(": ", 1)[1] for r in results for p in r.points if ": " in p})
    document = {
        "command": command,
        "kills": sum(result.kills for result in results),
        "violations": sum(bool(result.violations) for result in results),
        "boundaries_struck": boundaries,
        "scenarios": [asdict(result) for result in results],
    }
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = f"""# Kill matrix

{document["kills"]} runs were killed with SIGKILL; {document["violations"]} violations.

{table(results)}

Made by `{command} --out {out}` in {seconds / 60:.0f} minutes.

- A run is killed at a boundary, which is before or after a system call or statement that makes something
  durable ({len(boundaries)} different ones were struck); at a random instant; or three runs are, one after another.
- Archive and restore: after each kill that no reader watches, and at the end, every row of the original is in
  hot ∪ archive exactly once, bit for bit, read without the product. The run that follows completes; then
  nothing due is hot, the chain of manifests is proven, and nothing is left over or in quarantine.
- In a third of those scenarios a reader looks through the product's own view all the while. A look that shows a
  row twice, not at all or with another value is a violation.
- Ingest: after each kill the ledger holds a whole number of files. The run that follows completes; then the ledger
  equals, row for row and refused rows too, the one that an undisturbed run makes, and nothing is left over.
- Create and migrate (to two newer schema versions made for this test): after each kill the store opens at some
  version with every row unchanged, and the copy made before each step is whole or absent. The run that
  follows completes; then the store is at the newest version and both copies are there.
"""
    out.with_suffix(".md").write_text(text, encoding="utf-8")
