"""A fault has a life: new, known, resolved; and waivers that end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from fluxhero.errors import AlreadyRunningError, BadInputError, DamagedFileError
from fluxhero.integrity import findings as store
from fluxhero.integrity import waivers as waiving
from fluxhero.integrity.findings import UNTOLD, Finding, State, judge
from fluxhero.integrity.results import (
    MOST_KEYS,
    MOST_SAMPLED,
    Outcome,
    Result,
    condensed,
    errored,
    failed,
    object_of,
    passed,
)
from fluxhero.integrity.rules import Rule, Severity, gravest
from fluxhero.integrity.waivers import Waiver, add_waivers, read_waivers, withdraw_waivers
from fluxhero.recorded import record_path

AT = datetime(2026, 3, 2, 22, tzinfo=UTC)
NIGHT = timedelta(days=1)
PNL = Rule("trades.pnl", Severity.ERROR, "says", "means", "remedy")
SHA = Rule("files.sha256", Severity.CRITICAL, "says", "means", "remedy")


def pnl(*keys: str, count: int | None = None) -> Result:
    return failed(PNL, "trades (hot)", "off", count=count or len(keys), keys=keys, checked=9)


def the_one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1
    return findings[0]


def nights(*results: list[Result], waivers: tuple[Waiver, ...] = ()) -> list[Finding]:
    """The findings of the last of these runs, a night apart."""
    found: list[Finding] = []
    for night, run in enumerate(results):
        found = judge(run, found, waivers, AT + night * NIGHT)
    return found


def test_a_fault_is_new_then_known_then_resolved_then_gone() -> None:
    new = the_one(nights([pnl("a", "b")]))
    assert (new.state, new.first_seen, new.new_keys) == (State.NEW, AT, ("a", "b"))
    known = the_one(nights([pnl("a", "b")], [pnl("a", "b")]))
    assert (known.state, known.first_seen, known.last_seen) == (State.KNOWN, AT, AT + NIGHT)
    assert known.new_keys == ()
    resolved = the_one(nights([pnl("a")], [pnl("a")], [passed(PNL, "trades (hot)")]))
    assert (resolved.state, resolved.resolved_at) == (State.RESOLVED, AT + 2 * NIGHT)
    assert (resolved.first_seen, resolved.outcome) == (AT, Outcome.PASSED)
    assert not resolved.state.counts
    again = the_one(nights([pnl("a")], *2 * [[passed(PNL, "trades (hot)")]]))
    assert (again.state, again.first_seen) == (State.SOUND, None)


def test_a_fault_that_grew_is_new_and_keeps_its_beginning() -> None:
    grown = the_one(nights([pnl("a")], [pnl("a", "b")]))
    assert (grown.state, grown.new_keys, grown.first_seen) == (State.NEW, ("b",), AT)
    beyond_the_keys = the_one(nights([pnl("a", count=5)], [pnl("a", count=6)]))
    assert (beyond_the_keys.state, beyond_the_keys.new_keys) == (State.NEW, ())
    shrunk = the_one(nights([pnl("a", "b")], [pnl("b")]))
    assert (shrunk.state, shrunk.count) == (State.KNOWN, 1)


def test_what_is_sound_takes_one_line_a_rule_unless_part_of_it_is_not_told() -> None:
    sound = [passed(SHA, "archive/x", 3), passed(SHA, "archive/y", 4)]
    found = condensed([*sound, pnl("a"), passed(PNL, "trades (archive)", 5)])
    assert [(r.rule.name, r.object, r.checked) for r in found] == [
        ("trades.pnl", "trades (hot)", 9),
        ("files.sha256", "2 objects", 7),
        ("trades.pnl", "trades (archive)", 5),
    ]
    untold = [*sound, errored(SHA, "archive/z", "no permission")]
    assert condensed(untold) == untold
    fault = failed(SHA, "archive/x", "changed")
    mended = nights([fault], condensed(untold))
    assert next(f for f in mended if f.object == "archive/x").state is State.RESOLVED


def test_an_object_that_is_gone_is_resolved_where_its_rule_was_checked() -> None:
    stray = failed(SHA, "archive/x", "changed")
    others = [passed(SHA, "archive/y")]
    assert {f.state for f in nights([stray], others)} == {State.RESOLVED, State.SOUND}


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([], id="the rule was not checked"),
        pytest.param([errored(SHA, "archive", "no manifest")], id="it could not be told"),
    ],
)
def test_what_was_not_looked_at_stays_as_it_was(later: list[Result]) -> None:
    found = nights([failed(SHA, "archive/x", "changed")], later)
    fault = next(f for f in found if f.object == "archive/x")
    assert (fault.state, fault.last_seen, fault.outcome) == (State.KNOWN, AT, Outcome.FAILED)
    assert fault.state.counts


def test_an_error_counts_and_is_never_a_pass() -> None:
    waivers = [Waiver(rule=PNL.name, reason="r", since=AT, until=AT + 9 * NIGHT)]
    fault = the_one(judge([errored(PNL, "trades (hot)", "no column")], [], waivers, AT))
    assert (fault.outcome, fault.state, fault.waived) == (Outcome.ERRORED, State.NEW, 0)
    assert gravest([fault.severity for _ in [fault] if fault.state.counts]) is Severity.ERROR


def test_a_waiver_takes_its_rows_out_until_it_ends() -> None:
    one = Waiver(rule=PNL.name, key="a", reason="broker", since=AT, until=AT + NIGHT)
    part = the_one(nights([pnl("a", "b")], waivers=(one,)))
    assert (part.state, part.waived, part.count) == (State.NEW, 1, 2)
    whole = the_one(nights([pnl("a")], waivers=(one,)))
    assert (whole.state, gravest([whole.severity for _ in [whole] if whole.state.counts])) == (
        State.WAIVED,
        None,
    )
    assert whole.state.is_open
    ended = the_one(nights([pnl("a")], [pnl("a")], waivers=(one,)))
    assert (ended.state, ended.first_seen) == (State.KNOWN, AT)
    carried = the_one(nights([pnl("a")], [], waivers=(one,)))
    assert carried.state is State.WAIVED
    rule = replace_key(one, None)
    assert the_one(nights([pnl("x", "y")], waivers=(rule,))).waived == 2
    file = replace_key(one, "trades (hot)")
    assert the_one(nights([pnl("x", "y")], waivers=(file,))).waived == 2


def replace_key(waiver: Waiver, key: str | None) -> Waiver:
    return waiver.model_copy(update={"key": key})


def test_waivers_are_kept_replaced_and_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "integrity" / "waivers.json"
    until = AT + 30 * NIGHT
    add_waivers(path, "trades.pnl", ["a", "b", "a"], reason="broker", at=AT, until=until)
    later = AT + NIGHT
    add_waivers(path, "trades.pnl", ["a"], reason="again", at=later, until=until)
    add_waivers(path, "files.sha256", [], reason="known", at=later, until=until)
    active = [(w.rule, w.key, w.reason) for w in read_waivers(path) if w.active(later)]
    assert active == [
        ("trades.pnl", "b", "broker"),
        ("trades.pnl", "a", "again"),
        ("files.sha256", None, "known"),
    ]
    assert withdraw_waivers(path, "trades.pnl", ["nobody"], at=later) == []
    assert [w.key for w in withdraw_waivers(path, "trades.pnl", [], at=later)] == ["b", "a"]
    assert [w.rule for w in read_waivers(path) if w.active(later)] == ["files.sha256"]
    assert len(read_waivers(path)) == 4, "what is past stays as history"


def test_bad_waivers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "waivers.json"
    with pytest.raises(BadInputError, match="reason"):
        add_waivers(path, "r", [], reason=" ", at=AT, until=AT + NIGHT)
    with pytest.raises(BadInputError, match="never count"):
        add_waivers(path, "r", [], reason="why", at=AT, until=AT)
    path.write_text('[{"rule": 1}]')
    with pytest.raises(DamagedFileError, match=r"waivers\.json is damaged"):
        read_waivers(path)
    monkeypatch.setattr(waiving, "_WAIT_SECONDS", 0.01)
    holder = FileLock(path.with_suffix(".lock"))
    with holder, pytest.raises(AlreadyRunningError, match="another command"):
        add_waivers(path, "r", [], reason="why", at=AT, until=AT + NIGHT)


def test_findings_are_kept_and_read_back(tmp_path: Path) -> None:
    assert store.latest_findings(tmp_path, AT + 9 * NIGHT) == []
    assert store.trends(tmp_path, 5) == []
    result = replace(pnl("ä", "b"), sample=({"key": "ä", "pnl": "1.50"},), sql="SELECT 1")
    written = judge([result, passed(SHA, "archive/x", 3)], [], [], AT)
    store.write_findings(tmp_path, store.new_run_id(AT), AT, written, deep=True)
    assert store.latest_findings(tmp_path, AT + 9 * NIGHT) == written
    later = judge([errored(PNL, "trades (hot)", "why")], written, [], AT + NIGHT)
    path = store.write_findings(tmp_path, "20260303T220000Z-0000", AT, later, deep=False)
    told = {trend.rule: trend.counts for trend in store.trends(tmp_path, 5)}
    assert told == {"trades.pnl": (2, UNTOLD), "files.sha256": (0, None)}
    damage(path)
    assert store.latest_findings(tmp_path, AT + 9 * NIGHT) == written, (
        "the run before stands in for a damaged one"
    )
    assert store.trends(tmp_path, 5) == []
    record_path(path).write_text("{}")
    assert store.latest_findings(tmp_path, AT + 9 * NIGHT) == written


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20:] = bytes(20)
    path.write_bytes(content)


def test_results_are_bounded() -> None:
    keys = tuple(f"{number:05d}" for number in range(MOST_KEYS + 5, 0, -1))
    result = failed(PNL, "x", "y", count=len(keys), keys=keys, sample=({},) * 40)
    assert (len(result.keys), result.keys[0]) == (MOST_KEYS, "00001")
    assert (len(result.sample), result.count) == (MOST_SAMPLED, MOST_KEYS + 5)


def test_objects_are_named_from_the_data_folder(tmp_path: Path) -> None:
    assert object_of(tmp_path / "archive" / "x", tmp_path) == "archive/x"
    assert object_of(Path("/elsewhere/x"), tmp_path) == "/elsewhere/x"


def test_a_known_fault_that_could_not_be_told_for_a_night_is_no_new_one_afterwards() -> None:
    fault, unknown = [pnl("a", "b", count=7)], [errored(PNL, "trades (hot)", "locked")]
    known = the_one(nights(fault, fault, unknown, unknown, fault))
    assert (known.state, known.first_seen, known.new_keys) == (State.KNOWN, AT, ())
    grown = the_one(nights(fault, unknown, [pnl("a", "b", "c", count=8)]))
    assert (grown.state, grown.new_keys) == (State.NEW, ("c",))
