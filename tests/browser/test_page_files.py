"""The operations page as files: what is sent, with which headers, and what may not be in it."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import httpx

from fluxhero.api import page
from tests.browser.scripted import Script, scripted_app
from tests.browser.served import Served

REPOSITORY = Path(__file__).parents[2]
STATIC = REPOSITORY / "fluxhero" / "api" / "static"
FILES = sorted(STATIC.iterdir())


def test_only_its_own_files_of_its_own_origin() -> None:
    html = (STATIC / "index.html").read_text("utf-8")
    assert not re.search(r"\son\w+\s*=|\sstyle\s*=|<style|javascript:", html)
    assert re.findall(r"<script[^>]*>(.*?)</script>", html) == [""]
    for file in FILES:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\((?!#)", text), f"{file.name} asks elsewhere"
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        )
    linked = re.findall(r'(?:src|href)="/static/([^"]+)"', html)
    imported = [
        name for file in FILES for name in re.findall(r'from "\./([^"]+)"', file.read_text())
    ]
    assert {*linked, *imported, page.PAGE} == {file.name for file in FILES}


def test_every_file_is_in_the_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["fluxhero.api"]
    assert all(any(fnmatch(f"static/{file.name}", one) for one in patterns) for file in FILES)
    assert set(page.read_assets()) == {file.name for file in FILES}


def test_how_they_are_sent() -> None:
    server = Served(lambda: scripted_app(Script({}))).start()
    with httpx.Client(base_url=server.url) as client:
        index = client.get("/")
        assert index.status_code == 200
        assert "<title>FluxHero operations" in index.text
        types = {
            ".html": "text/html",
            ".css": "text/css",
            ".js": "text/javascript",
            ".svg": "image/svg+xml",
        }
        for file in FILES:
            if file.name == page.PAGE:
                continue
            answer = client.get(f"/static/{file.name}")
            assert answer.content == file.read_bytes()
            assert answer.headers["content-type"].startswith(types[file.suffix])
            assert {
                name: answer.headers[name] for name in page.SECURITY_HEADERS
            } == page.SECURITY_HEADERS
            known = {"If-None-Match": f'"another", W/{answer.headers["etag"]}'}
            again = client.get(f"/static/{file.name}", headers=known)
            assert (again.status_code, again.content) == (304, b"")
        policy = dict(
            part.strip().split(" ", 1)
            for part in index.headers["content-security-policy"].split(";")
        )
        assert policy.pop("default-src") == "'none'"
        assert set(policy.values()) == {"'self'", "'none'"}
        assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {
            "'none'"
        }
        assert index.headers["cache-control"] == "no-cache"
        head = client.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == index.headers["content-length"]
        for missing in ("no.js", "index.html", "%2e%2e%2fpage.py", "..%2fpage.py", "page.py"):
            assert client.get(f"/static/{missing}").status_code == 404
        assert client.post("/").status_code == 405
    server.stop()
