"""The operations page in a real browser, over an API that says what each test wants it to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.scripted import TOKEN, Script, empty_status, iso, night_shift
from tests.browser.served import Served

Serve = Callable[[Script], Served]
PANELS = (
    "findings",
    "account",
    "runs",
    "latency",
    "breaker",
    "holdings",
    "jobs",
    "archive",
    "told",
    "trades",
)
# Ratio of the luminances of each visible text and what lies behind it, by WCAG 2.2; those under 4.5.
FAINT = """() => {
  const rgb = (text) => { const context = Object.assign(document.createElement("canvas"),
      {width: 1, height: 1}).getContext("2d"); context.fillStyle = text; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data]; };
  const light = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [.2126, .7152, .0722][index], 0);
  const behind = (element) => { for (let one = element; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor); if (color[3] === 255) return color; }
    return rgb("white"); };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest(".away")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(rgb(element.closest("svg") ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${walker.currentNode.data}`);
  }
  return faint;
}"""
PLACES = """() => [...document.querySelectorAll(".tile, .card, .verdict, tr, .plot")]
  .map((one) => one.getBoundingClientRect()).map((box) => [box.x, box.y, box.width, box.height])"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def test_only_a_right_token_opens_the_board(tab: Open, served: Serve, now: datetime) -> None:
    script = night_shift(now)
    server = served(script)
    opened = tab()
    page = opened.page
    response = page.goto(server.url)
    assert response is not None
    assert "script-src 'self'" in response.headers["content-security-policy"]
    for wrong, answer in (
        ("no such token", "no space"),
        ("x" * 40, "not a token"),
        ("ü" * 40, "letters"),
    ):
        page.fill("#token", wrong)
        page.click("#log-in")
        page.wait_for_function(
            "(answer) => document.getElementById('login-problem').textContent.includes(answer)",
            arg=answer,
        )
        assert not page.is_visible("#board")
    script.refusal = (429, {"kind": "rate", "message": "slow"}, {"Retry-After": "37"})
    page.fill("#token", TOKEN)
    page.click("#log-in")
    page.wait_for_selector("text=wait 37 s")
    server.stop()
    page.click("#log-in")
    page.wait_for_selector("text=does not answer")
    server.start()
    script.refusal = None
    page.click("#log-in")
    page.wait_for_selector("#line[data-state=live]")
    assert opened.text("#verdict-text") == "Warning: 2 findings are open."
    assert page.title().startswith("! Warning")
    assert TOKEN not in page.content()

    page.reload()
    page.wait_for_selector("#line[data-state=live]")
    script.token = "another token, the old one is void"
    script.hang_up(1008)
    page.wait_for_selector("text=no longer accepted")
    assert not page.is_visible("#board")
    assert "$" not in str(page.text_content("#board"))
    assert page.evaluate("sessionStorage.getItem('fluxhero.token')") is None
    assert not any(TOKEN in url for url in opened.asked)


def test_what_happens_is_shown_at_once_and_moves_nothing(
    tab: Open, served: Serve, now: datetime
) -> None:
    script = night_shift(now)
    opened = tab()
    page = opened.page
    opened.log_in(served(script).url, TOKEN)
    page.focus("#runs a >> nth=2")
    places = page.evaluate(PLACES)
    script.status["accounts"][0]["equity"] = 131_313.0
    script.status["runs"]["last"][0]["seconds"] = 9.99
    script.equity["curves"][0]["points"][-1][1] = "131313.00"
    script.tell("snapshot", {"run": "r"})
    page.wait_for_selector("#tiles >> text=$131,313")
    page.wait_for_selector("#readout >> text=$131,313")
    page.wait_for_selector("#runs >> text=9.99 s")
    assert page.evaluate("document.activeElement.dataset.key") == "run-run-2"
    for level in ("warning", "critical", "critical", "ok"):
        script.tell("alert", {"level": level, "title": f"Drawdown {level}", "text": "See `live`."})
    page.wait_for_selector(".alert >> text=Drawdown ok")
    assert page.locator(".alert").count() == 3
    assert page.evaluate(PLACES) == places
    page.click(".alert button >> nth=0")
    assert page.locator(".alert").count() == 2

    script.status["verdict"] = {
        "level": "critical",
        "text": "Critical: the breaker tripped.",
        "reasons": [],
    }
    script.tell("run", {})
    page.wait_for_selector("#verdict[data-level=critical]")
    assert page.title().startswith("✕ Critical")
    script.tell("no such kind", {})
    asked = len(script.asked)
    for _ in range(20):
        script.tell("run", {})
    page.wait_for_timeout(2_300)
    assert len(script.asked) - asked <= 3  # a burst of events is one question


def test_a_lost_server_is_said_and_found_again(tab: Open, served: Serve, now: datetime) -> None:
    script = night_shift(now)
    server = served(script)
    opened = tab()
    page = opened.page
    opened.log_in(server.url, TOKEN)
    server.stop()
    page.wait_for_selector("#line[data-state=lost] >> text=connection lost, data of")
    assert page.is_visible("#retry")
    assert page.evaluate(FAINT) == []
    assert opened.text("#verdict-text") == "Warning: 2 findings are open."
    script.status["verdict"] = {"level": "ok", "text": "All is well.", "reasons": []}
    server.start()
    page.click("#retry")
    page.wait_for_selector("#line[data-state=live]")
    page.wait_for_selector("#verdict[data-level=ok] >> text=All is well.")
    assert not page.is_visible("#retry")

    script.websocket = False
    script.hang_up(1013)
    page.wait_for_selector("#line[data-state=polling] >> text=not live")
    script.websocket = True  # and by itself, without a click
    page.wait_for_selector("#line[data-state=live]")


def test_an_empty_ledger_says_what_to_do(tab: Open, served: Serve, now: datetime) -> None:
    script = Script(empty_status(now))
    script.status["runs"]["problem"] = "no Prefect server: start one with `fluxhero up`"
    opened = tab()
    opened.log_in(served(script).url, TOKEN)
    assert opened.page.get_attribute("#verdict", "data-level") == "unknown"
    for panel, said in (
        ("account", "fluxhero ingest"),
        ("findings", "never checked"),
        ("runs", "fluxhero up"),
        ("latency", "No order has the times"),
        ("breaker", "No state yet"),
        ("jobs", "No job has run"),
        ("archive", "0 rows in 0 files"),
        ("told", "Nowhere to send alerts"),
    ):
        assert said in opened.text(f"#{panel}")
    assert not opened.page.is_visible("#chart")
    assert not opened.page.is_visible("#prefect")
    _nothing_unsaid(opened.text("body"))


def test_damage_is_told_and_never_well(tab: Open, served: Serve, now: datetime) -> None:
    script = night_shift(now)
    script.status["problems"] = [{"what": "snapshots/x.parquet", "message": "it cannot be read"}]
    script.status |= {"archive": None, "snapshot_stale": True, "accounts": [], "positions": []}
    script.status["unusable"] = [{"mode": "live", "reason": "no_result", "trades": 3}]
    script.status["breaker"][0] |= {
        "level": "critical",
        "reason": "the state file is damaged",
        "since": None,
    }
    script.status["alerts"] |= {"text": "1 alert not delivered", "overdue": 1}
    script.status["alerts"]["last"][1] |= {"standing": "waiting", "problem": "target 1: refused"}
    script.equity_refusal = (
        503,
        {
            "kind": "damaged-file",
            "message": "metrics/equity.parquet is damaged",
            "next_step": "Run `x`.",
        },
        {},
    )
    opened = tab()
    opened.log_in(served(script).url, TOKEN)
    assert "snapshots/x.parquet: it cannot be read" in opened.text("#reasons")
    assert "cannot be read" in opened.text("#archive")
    for said in ("not arriving", "archive-trades failed", "waiting", "target 1: refused"):
        assert said in opened.text("#told")
    assert "metrics/equity.parquet is damaged" in opened.text("#account")
    assert "3 of them have no result" in opened.text("#account")
    assert "fluxhero breaker reset --mode live" in opened.text("#breaker")
    _nothing_unsaid(opened.text("body"))

    script.refusal = (
        503,
        {"kind": "x", "message": "The folder is gone.", "next_step": "Mount it."},
        {},
    )
    script.tell("run", {})
    opened.page.wait_for_selector("#reasons >> text=The folder is gone.")
    assert opened.page.get_attribute("#verdict", "data-level") == "unknown"
    script.refusal = None
    script.tell("run", {})
    opened.page.wait_for_selector("#verdict[data-level=warning]")
    assert "snapshots/x.parquet" in opened.text("#reasons")


def test_data_is_text_whatever_it_is(tab: Open, served: Serve, now: datetime) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    script = night_shift(now)
    script.status = _poisoned(script.status, evil)
    script.status["runs"]["ui_url"] = "javascript:alert(3)"
    for run in script.status["runs"]["last"]:
        run["url"] = "javascript:alert(4)"
    opened = tab()
    dialogs: list[str] = []
    opened.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    opened.log_in(served(script).url, TOKEN)
    script.tell("alert", {"level": evil, "title": evil, "text": evil})
    opened.page.wait_for_selector(".alert")
    assert evil in opened.text("#findings")
    assert evil in opened.text(".alert")
    assert opened.page.locator("main img, main script, a[href^=javascript]").count() == 0
    assert not opened.page.is_visible("#prefect")
    assert dialogs == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_on_a_phone_and_a_desk(
    tab: Open, served: Serve, now: datetime, scheme: str
) -> None:
    script = night_shift(now)
    server = served(script)
    backgrounds = set()
    for width in (360, 1280):
        opened = tab(color_scheme=scheme, viewport={"width": width, "height": 740})
        opened.page.goto(server.url)
        assert opened.page.evaluate(SIDEWAYS) == 0
        assert opened.page.evaluate(FAINT) == []
        opened.log_in(server.url, TOKEN)
        script.tell("alert", {"level": "critical", "title": "Breaker", "text": "x" * 200})
        opened.page.wait_for_selector(".alert")
        assert opened.page.evaluate(SIDEWAYS) == 0
        assert opened.page.evaluate(FAINT) == []
        assert all(
            opened.page.is_visible(f"#{panel} > *") for panel in PANELS if panel != "account"
        )
        backgrounds.add(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 1
    assert ("245" in backgrounds.pop()) == (scheme == "light")


def test_the_keyboard_is_enough(tab: Open, served: Serve, now: datetime) -> None:
    opened = tab(reduced_motion="reduce")
    page = opened.page
    press = page.keyboard.press
    page.goto(served(night_shift(now)).url)
    page.keyboard.type(TOKEN)
    press("Enter")
    page.wait_for_selector("#line[data-state=live]")
    reached: list[str] = []
    for _ in range(40):
        press("Tab")
        focus = page.evaluate(
            "(({id, textContent, tagName}) => id || `${tagName} ${textContent}`)(document.activeElement)"
        )
        if focus.startswith("BODY"):
            continue  # past the last one, and on from the first
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        hidden = page.evaluate("document.activeElement.matches('.switch input, #scrub')")
        assert ring == "solid" or hidden, f"no focus ring on {focus}"
        reached.append(focus)
        if focus == "mode-switch-live":
            press("ArrowRight")
            page.wait_for_selector("#tiles >> text=closed trades")
            assert page.is_checked("#mode-switch-paper")
            assert "No order has" in opened.text("#latency")
            press("ArrowLeft")
        if focus == "scrub":
            before = page.get_attribute("#scrub", "aria-valuetext")
            for _ in range(5):
                press("ArrowLeft")
            after = page.get_attribute("#scrub", "aria-valuetext")
            assert before != after
            assert opened.text("#readout .when b") in str(after)
        if focus.startswith("SUMMARY The curve") and focus not in reached[:-1]:
            press("Enter")
            assert page.is_visible("#months >> text=High-water mark")
    assert {"prefect", "log-out", "mode-switch-live", "scrub", "event-switch-fill"} <= set(reached)
    assert any(focus.startswith("A archive-trades") for focus in reached)
    page.focus("#log-out")
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "token"
    assert page.evaluate("sessionStorage.getItem('fluxhero.token')") is None


def test_numbers_and_times_are_told_as_they_are(tab: Open, served: Serve, now: datetime) -> None:
    script = night_shift(now)
    account = script.status["accounts"][0]
    account |= {"drawdown_ratio": 0.149999, "max_ratio": 1 - 120_000 / 150_000, "equity": -1234.5}
    script.status["snapshot_at"] = iso(now - timedelta(minutes=31))
    script.status["findings"] |= {"total": 3, "waived": 2}
    script.status["trades"][0]["fees"] = None
    script.status["runs"]["last"][1]["state_name"] = "Completed with findings"
    opened = tab()
    page = opened.page
    page.clock.install(time=now - timedelta(days=2))  # this device's clock is wrong
    opened.log_in(served(script).url, TOKEN)
    drawdown = page.locator(".tile", has_text="Drawdown")
    assert "14.9 %" in drawdown.inner_text()
    assert "worst 20.0 %" in drawdown.inner_text()
    assert drawdown.get_attribute("data-level") == "ok"
    assert "−$1,23" in opened.text("#tiles")
    assert "31 min ago" in opened.text("#facts")
    assert page.get_attribute("#facts time >> nth=0", "title") == (
        now - timedelta(minutes=31)
    ).strftime("%Y-%m-%d %H:%M:%S UTC")
    told = page.locator(".tile", has_text="Open findings").inner_text().split("\n")
    assert (told[1], told[-1].endswith("2 waived")) == ("1", True)
    assert "not recorded" in opened.text("#trades")
    assert page.get_attribute("#runs .tag:has-text('with findings')", "data-level") == "warning"
    assert "of the last 30 days" in opened.text("#latency")
    assert "too few" in opened.text("#latency")
    limits = page.locator("#plot .limit text").all_text_contents()
    assert limits == ["warning at 15 %", "critical at 20 %"]
    assert "the warning limit of 15 % was reached on" in opened.text("#chart-says")
    page.click("label[for=window-switch-all]")
    assert "2,914" in opened.text("#latency")
    page.click("label[for=span-switch-all]")
    page.focus("#scrub")
    page.keyboard.press("Home")
    first = opened.text("#readout")
    page.hover("#plot", position={"x": 700, "y": 100})
    assert f"{now - timedelta(days=399):%-d %b %Y}" in first
    assert opened.text("#readout") != first
    page.reload()
    page.wait_for_selector("#board[aria-busy=false]")
    assert page.is_checked("#span-switch-all")
    assert page.is_checked("#window-switch-all")


def _poisoned(part: Any, evil: str) -> Any:
    """The same document, with the text in place of each text that is shown as it is."""
    if isinstance(part, dict):
        shown = {
            "text",
            "rule",
            "object",
            "observed",
            "remedy",
            "flow",
            "name",
            "state_name",
            "job",
            "reason",
            "message",
        }
        return {
            key: evil if key in shown and value else _poisoned(value, evil)
            for key, value in part.items()
        }
    return [_poisoned(one, evil) for one in part] if isinstance(part, list) else part


def _nothing_unsaid(text: str) -> None:
    for word in ("NaN", "undefined", "null", "Infinity", "[object", "Invalid"):
        assert word not in text
