"""Reports over the real service: who may open them, for how long, and that nothing in them can run."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from fluxhero.reports import reports, write_report
from tests.api.asking import asking

HOSTILE = "<script>document.title = 'ran'</script><h1>A report</h1>"


def test_reports_are_listed_and_open_by_a_link_for_a_while(data: Path) -> None:
    write_report(data, "check", "20261124T060000-0001", HOSTILE)
    (data / "reports" / "tearsheet-x.pdf").write_bytes(b"%PDF-1.7")
    (data / "reports" / ".hidden.html").write_text("no")
    (data / "reports" / "notes.txt").write_text("no")
    with asking() as api, httpx.Client(base_url=api.client.base_url, trust_env=False) as stranger:
        listed = api.get("/api/reports")
        names = {line["name"]: line["kind"] for line in listed["items"]}
        assert names == {
            "check-20261124T060000-0001.html": "check",
            "check-latest.html": "check",
            "tearsheet-x.pdf": "tearsheet",
        }
        assert [line["name"] for line in api.get("/api/status")["reports"]] == ["check-latest.html"]
        link = api.get("/api/reports/check-latest.html")
        assert link["seconds"] == 600
        opened = stranger.get(link["path"])
        assert opened.text == HOSTILE
        policy = opened.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert opened.headers["referrer-policy"] == "no-referrer"
        assert opened.headers["cache-control"] == "no-store"
        beside = link["path"].replace("check-latest.html", "tearsheet-x.pdf")
        assert stranger.get(beside).headers["content-type"] == "application/pdf"
        api.clock.move(timedelta(minutes=10))
        late = stranger.get(link["path"])
        assert late.status_code == 403
        assert "operations page" in late.json()["error"]["next_step"]


@pytest.mark.parametrize(
    "path",
    [
        "/reports/9999999999.{signature}/check-latest.html",
        "/reports/{until}.{other}/check-latest.html",
        "/reports/{until}./check-latest.html",
        "/reports/./check-latest.html",
        "/reports/x.{signature}/check-latest.html",
        "/reports/ü.ü/check-latest.html",
    ],
)
def test_a_ticket_cannot_be_made_up(data: Path, path: str) -> None:
    write_report(data, "check", "1", HOSTILE)
    with asking() as api:
        until, signature = (
            api.get("/api/reports/check-latest.html")["path"].split("/")[2].split(".")
        )
        other = signature[:-1] + ("0" if signature[-1] != "0" else "1")
        asked = path.format(until=until, signature=signature, other=other)
        answer = httpx.get(f"{api.client.base_url}{asked}", trust_env=False)
        assert answer.status_code in {403, 404}
        assert HOSTILE not in answer.text


def test_no_link_leads_out_of_the_folder_and_none_is_given_without_the_token(data: Path) -> None:
    write_report(data, "check", "1", HOSTILE)
    (data / "auth-secret").write_text("s" * 40)
    with asking() as api:
        for name in ("auth-secret", "..%2Fauth-secret", "%2e%2e%2fauth-secret", "notes.txt"):
            assert api.client.get(f"/api/reports/{name}").status_code == 404
        ticket = api.get("/api/reports/check-latest.html")["path"].split("/")[2]
        for name in ("auth-secret", "..%2Fauth-secret", "..", "check-gone.html"):
            answer = httpx.get(f"{api.client.base_url}/reports/{ticket}/{name}", trust_env=False)
            assert answer.status_code in {404, 401}, name
        for path in ("/api/reports", "/api/reports/check-latest.html"):
            assert httpx.get(f"{api.client.base_url}{path}", trust_env=False).status_code == 401


def test_there_is_no_report_before_the_first(data: Path) -> None:
    assert reports(data) == []
    with asking() as api:
        assert api.get("/api/reports")["total"] == 0
