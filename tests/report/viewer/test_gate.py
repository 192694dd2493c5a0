"""Who is let in: names, hosts, sites, tokens; and what lies outside of the study stays there."""

from __future__ import annotations

import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cathoscope.cli import app
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.study import Study
from cathoscope.report.viewer.gate import is_loopback, own_names
from cathoscope.report.viewer.serve import Served, served
from tests.report.viewer.conftest import get, serving

SLICE = "api/slice?axis=z&index=9&"


@pytest.fixture(scope="module")
def with_links(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of a study with links that lead out of it, beside what they lead to."""
    folder = tmp_path_factory.mktemp("links")
    inside, secret = folder / "study.zarr", folder / "secret"
    shutil.copytree(study.path, inside)
    shutil.copytree(study.path / "result" / "rod", secret)
    (inside / "result" / "linked").symlink_to(secret)
    (inside / "result" / "rod" / "linked_array").symlink_to(secret / "white_line_energy")
    with serving(Study.open(inside)) as server:
        yield server


@pytest.mark.parametrize(
    ("measurement", "array"),
    [
        ("../secret", "white_line_energy"),
        ("result/../../secret", "white_line_energy"),
        ("result/..", "result"),
        ("raw/rod", "white_line_energy"),
        ("log/work", "x"),
        ("result/", "rod"),
        ("result/rod", "../gravel/white_line_energy"),
        ("result/rod", ".."),
        ("result/rod", "."),
        ("result/rod/white_line_energy", "c"),
        ("/etc", "passwd"),
        ("result/rod\x00", "white_line_energy"),
        ("result/linked", "white_line_energy"),
        ("result/rod", "linked_array"),
    ],
)
def test_only_names_of_the_listing_are_opened(with_links: Served, measurement: str, array: str) -> None:
    query = urllib.parse.urlencode({"measurement": measurement, "array": array})
    status, content, _ = get(with_links.address, SLICE + query)
    assert status == 404
    assert b"no such" in content


def test_what_leads_out_of_the_study_is_not_listed(with_links: Served) -> None:
    listed = get(with_links.address, "api/study")[1]
    assert b"result/rod" in listed
    assert b"linked" not in listed


@pytest.mark.parametrize("level", ["c", "c/0", "c/0/1/0/0"])
def test_chunks_that_lead_out_of_the_study_are_refused(study: Study, tmp_path: Path, level: str) -> None:
    inside, secret = tmp_path / "study.zarr", tmp_path / "secret"
    shutil.copytree(study.path, inside)
    array = inside / "result" / "rod" / "white_line_energy"
    shutil.move(array / level, secret)
    (array / level).symlink_to(secret)
    with serving(Study.open(inside)) as server:
        status, content, _ = get(server.address, SLICE + "measurement=result/rod&array=white_line_energy")
    assert status == 422
    assert b"out of the study" in content or b"cannot be read" in content


@pytest.mark.parametrize(
    "path", ["../pyproject.toml", "%2e%2e/app.py", "app.py", "page/index.html", "__init__.py", "api/"]
)
def test_no_other_file_is_served(server: Served, path: str) -> None:
    assert get(server.address, path)[0] == 404


def test_another_name_of_the_host_is_refused(server: Served) -> None:
    port = server.address.rsplit(":", 1)[1].strip("/")
    assert get(server.address, "api/study", Host="localhost:9000")[0] == 200  # a tunnel
    for name in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "",
        "[::2]",
        "localhost.evil.example",
    ):
        status, content, headers = get(server.address, "api/study", Host=name)
        assert status == 421
        assert b"rod" not in content
        assert "set-cookie" not in headers


def test_pages_of_other_sites_may_link_but_not_ask(server: Served) -> None:
    assert get(server.address, "api/study", Sec_Fetch_Site="cross-site")[0] == 403
    assert get(server.address, "api/study", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert get(server.address, "", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    headers = get(server.address, "api/study")[2]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(server: Served, method: str) -> None:
    assert get(server.address, "api/study", method=method)[0] == 405


def test_a_token_is_asked_for_with_every_request(study: Study) -> None:
    with serving(study, with_token=True) as server:
        address, token = server.address.split("?")[0], server.token
        assert len(token) >= 32
        for path in ("", "viewer.js", "api/study", "api/study?token=", f"api/study?token={token[:-1]}x"):
            status, content, headers = get(address, path)
            assert status == 401
            assert b"rod" not in content
            assert "set-cookie" not in headers
        status, _, headers = get(address, f"?token={token}")
        assert status == 200
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite=Strict" in headers["set-cookie"]
        cookie = headers["set-cookie"].split(";")[0]
        assert get(address, "api/study", Cookie=cookie)[0] == 200
        assert get(address, "api/study", Cookie=cookie[:-1])[0] == 401
        assert get(address, "api/study", Cookie=f"other={token}")[0] == 401
        assert get(address, "api/study", Authorization=f"Bearer {token}")[0] == 200


def test_beyond_this_machine_there_is_always_a_token(study: Study) -> None:
    for host, wanted in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)):
        made = served(study, host=host, port=0)
        made.listener.close()
        assert bool(made.token) is wanted
        assert ("token=" in made.address) is wanted
    other = served(study, host="0.0.0.0", port=0)
    other.listener.close()
    assert other.token != made.token


def test_names_of_its_own() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.1.5")
    assert not is_loopback("beamline.example")
    assert "0.0.0.0" not in own_names("0.0.0.0")
    assert "beamline.example" in own_names("Beamline.example")


def test_a_place_that_is_taken_is_said_in_words(study: Study, server: Served) -> None:
    port = int(server.address.rsplit(":", 1)[1].strip("/"))
    with pytest.raises(CathoscopeError, match="another port"):
        served(study, host="127.0.0.1", port=port)


def test_the_command_says_what_is_wrong_and_leaves(study: Study, server: Served, tmp_path: Path) -> None:
    port = server.address.rsplit(":", 1)[1].strip("/")
    missing = CliRunner().invoke(app, ["view", str(tmp_path / "nothing.zarr")])
    taken = CliRunner().invoke(app, ["view", str(study.path), "--port", port])
    assert (missing.exit_code, taken.exit_code) == (4, 2)
    assert "there is no study here" in missing.output
    assert "another port" in taken.output
