"""The rules that the archive's files and documents keep, stated for whoever has to act on a breach."""

from fluxhero.integrity.rules import Rule, Severity

_MEND = "Run `fluxhero check --repair`; without a mirror, restore the file from a backup of the archive."
_LOOK = "Look at the file; move it elsewhere if it is yours."

PRESENT = Rule(
    "files.present",
    Severity.CRITICAL,
    "Every data file that a manifest names is there.",
    "Somebody or something removed archived trades, or the archive's disk is only partly mounted. The "
    "trades in it are no longer in the hot store either.",
    _MEND,
)
SIZE = Rule(
    "files.size",
    Severity.CRITICAL,
    "Every data file has the size that its manifest says.",
    "The file was cut off, emptied, edited or replaced. Its trades cannot be relied on.",
    _MEND,
)
SHA256 = Rule(
    "files.sha256",
    Severity.CRITICAL,
    "The bytes of every data file have the SHA-256 that its manifest says.",
    "A disk flipped a bit, or somebody edited or replaced the file. A query may show wrong prices or "
    "quantities without any error.",
    _MEND,
)
STRUCTURE = Rule(
    "files.structure",
    Severity.CRITICAL,
    "Every data file opens as Parquet, and every page read matches its checksum.",
    "The file is damaged where its structure or its values are stored. Queries fail or show wrong values.",
    _MEND,
)
SCHEMA = Rule(
    "files.schema",
    Severity.ERROR,
    "Every data file has exactly the columns and types that its table was archived with.",
    "Another program rewrote the file, and a type changed on the way (numbers became floats, times lost "
    "their zone, a column lost its type). Values may have been rounded or shifted.",
    _MEND,
)
ROWS = Rule(
    "files.rows",
    Severity.CRITICAL,
    "Every data file holds as many rows as its manifest says.",
    "Trades were removed from the file or added to it.",
    _MEND,
)
KEY_RANGE = Rule(
    "files.key-range",
    Severity.CRITICAL,
    "First and last key, first and last close time and the digest of the rows are those of the manifest.",
    "The file holds other rows, or other versions of them, than were archived.",
    _MEND,
)
UNNAMED = Rule(
    "files.unnamed",
    Severity.ERROR,
    "Every data file in the archive's folders is named by a manifest.",
    "An archive run was killed before it published the file, or the file was put there by hand. A "
    "query over all files of the folder counts its rows twice.",
    "Run `fluxhero check --repair`, or the next `fluxhero archive`: the file is removed if all its rows are "
    "still hot, and else moved to the quarantine.",
)
STRAY = Rule(
    "files.stray",
    Severity.WARNING,
    "Nothing but the archive's own files lies in its folders.",
    "Somebody or another program put a file there. It does no harm by itself.",
    _LOOK,
)
STAGING = Rule(
    "files.staging",
    Severity.WARNING,
    "Nothing is left over from a run that was killed.",
    "A run was killed while it wrote. Nothing is lost: its rows are still hot.",
    "Run `fluxhero check --repair`, or the next `fluxhero archive`, which sweeps it.",
)
MISPLACED = Rule(
    "files.misplaced",
    Severity.CRITICAL,
    "No data file lies under another one's name.",
    "Files were renamed or exchanged, so that trades appear in the wrong batch, or in none.",
    "Run `fluxhero check --repair`, which puts each file where its SHA-256 belongs.",
)
OUTDATED = Rule(
    "files.outdated",
    Severity.CRITICAL,
    "No data file is another version of itself.",
    "The file is whole and names the right batch, but it is not what was published: an older version was "
    "copied back, or a program wrote it anew.",
    _MEND,
)
READABLE = Rule(
    "chain.readable",
    Severity.CRITICAL,
    "Every manifest and event can be read and is as it was written.",
    "A disk flipped a bit, or somebody edited the document. Until it is mended nothing is archived, "
    "restored or purged.",
    _MEND,
)
COMPLETE = Rule(
    "chain.complete",
    Severity.CRITICAL,
    "The manifests form one chain: none is missing, added or exchanged.",
    "A manifest was removed or put in. Without it nobody can vouch for the trades of its batch.",
    _MEND,
)
HEAD = Rule(
    "chain.head",
    Severity.CRITICAL,
    "The chain ends with the batch that the data folder remembers as the newest, or goes on from there.",
    "The newest batches are gone: the archive's disk is not mounted, an old copy was put back, or manifests "
    "were removed. Or `archive-head.json` itself is damaged or gone.",
    "Mount the disk, or restore the archive from a backup; `fluxhero check --repair` mends what its "
    "mirror has.",
)
EVENTS = Rule(
    "chain.events",
    Severity.ERROR,
    "Every event belongs to its manifest, none is missing, and no more rows were purged than were there.",
    "A record of what was purged or restored was edited, exchanged or removed.",
    _MEND,
)
IDENTITY = Rule(
    "archive.identity",
    Severity.CRITICAL,
    "`archive.json` can be read, and it and every manifest name this store.",
    "The file is damaged or gone, or the archive is another store's.",
    "Check FLUXHERO_STORE_URL and FLUXHERO_ARCHIVE_DIR; `fluxhero check --repair` makes a lost or damaged "
    "`archive.json` again.",
)
HOLDS = Rule(
    "holds.readable",
    Severity.ERROR,
    "The list of trades that must stay hot can be read.",
    "It is damaged. Until it is mended nothing is archived, for nobody knows what must stay.",
    "Run `fluxhero check --repair`, or restore `holds.json` from a backup; move it aside if no trade is on "
    "hold.",
)
STORE = Rule(
    "store.sound",
    Severity.CRITICAL,
    "The hot store's file can be read from its beginning to its end.",
    "The database file is damaged. DuckDB checks every block's checksum, so a pass covers all bytes in use; "
    "SQLite has no checksums: its check proves the structure and the indices, and not the values.",
    "Stop the bot and restore the file from a backup; the archive is not affected.",
)
MIRROR_COMPLETE = Rule(
    "mirror.complete",
    Severity.ERROR,
    "The mirror is there, and has every file of the archive.",
    "Its disk is not mounted, or files were removed from it. What it lacks has no second copy.",
    "Mount the mirror's disk and run `fluxhero archive`, which copies what is missing.",
)
MIRROR_SHA256 = Rule(
    "mirror.sha256",
    Severity.ERROR,
    "The bytes of every file in the mirror have the SHA-256 that the mirror's own list says.",
    "A disk flipped a bit in the second copy, or somebody edited it. The archive itself is not affected.",
    "Run `fluxhero check --repair`, which copies the file again from the archive.",
)
_BY_PLACE = (PRESENT, SIZE, SHA256, STRUCTURE, SCHEMA, ROWS, KEY_RANGE, UNNAMED)
FILE_RULES = (*_BY_PLACE, MISPLACED, OUTDATED)
TREE_RULES = (STRAY, STAGING)
DOCUMENT_RULES = (READABLE, COMPLETE, HEAD, EVENTS, IDENTITY, HOLDS)
MIRROR_RULES = (MIRROR_COMPLETE, MIRROR_SHA256)
ARCHIVE_RULES = (
    *_BY_PLACE,
    *TREE_RULES,
    MISPLACED,
    OUTDATED,
    *DOCUMENT_RULES,
    STORE,
    *MIRROR_RULES,
)
