"""Who is turned away from the admin port: no token, a wrong one, other sites' pages, names that are not ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.proxy.desk import RULING, desk


@pytest.mark.fault(62)
@pytest.mark.parametrize("path", ["/v1/operations", "/v1/policies", "/v1/events", "/v1/runs/run_1", "/nowhere"])
async def test_without_or_with_a_wrong_token_nothing_is_told(tmp_path: Path, path: str) -> None:
    """401 and the scheme; the right one lets in, whatever the Host is called."""
    async with desk(tmp_path, token="s3cret") as now:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"},
                        {"Authorization": "Bearer "}, {"Authorization": "Bearer s3cret2"}):  # fmt: skip
            answer = await now.get(path, **headers)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        answer = await now.get("/v1/policies", Authorization="Bearer s3cret", Host="holdfast.internal:8101")
        assert answer.status == 200


@pytest.mark.fault(62)
async def test_without_a_token_nothing_is_ruled_nor_reloaded_nor_accepted(tmp_path: Path) -> None:
    """The operation is as unknown as before."""
    async with desk(tmp_path, token="s3cret") as now:
        operation = await now.unknown()
        for path in (f"/v1/operations/{operation}/resolve", "/v1/policies/reload", "/v1/store/accept"):
            assert (await now.post(path, RULING)).status == 401
            assert (await now.post(path, RULING, Authorization="Bearer nope")).status == 401
        record = await now.world.record()
        assert record is not None
        assert len(record.history) == 2


@pytest.mark.fault(62)
@pytest.mark.parametrize("token", ["", "s3cret"])
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}],
)  # fmt: skip
async def test_post_from_another_site_is_refused(tmp_path: Path, token: str, headers: dict[str, str]) -> None:
    """Even with the token; the same from one's own origin is let through."""
    async with desk(tmp_path, token=token) as now:
        operation = await now.unknown()
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        path = f"/v1/operations/{operation}/resolve"
        assert (await now.post(path, RULING, **headers, **bearer)).status == 403
        ours = {"Origin": f"http://{now.client.host}:{now.client.port}", "Sec-Fetch-Site": "same-origin"}
        assert (await now.post(path, RULING, **ours, **bearer)).status == 200


@pytest.mark.fault(62)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_post_of_what_a_form_can_send_is_refused(tmp_path: Path, kind: str) -> None:
    """Only JSON: no page can send that elsewhere without being asked for permission first."""
    async with desk(tmp_path) as now:
        operation = await now.unknown()
        answer = await now.client.post(
            f"/v1/operations/{operation}/resolve", data=json.dumps(RULING), headers={"Content-Type": kind}
        )
        assert answer.status == 415


@pytest.mark.fault(62)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8101", "127.0.0.1.evil.example", "10.0.0.1"])
async def test_name_that_was_made_to_resolve_to_loopback_is_refused(tmp_path: Path, host: str) -> None:
    """DNS rebinding: the page's name is not ours. Reads are refused as well: it could read the answer."""
    async with desk(tmp_path) as now:
        assert (await now.get("/v1/operations", Host=host)).status == 403
        for ours in ("localhost:8101", "127.0.0.1", "[::1]:8101", "127.8.9.1:1"):
            assert (await now.get("/v1/operations", Host=ours)).status == 200


async def test_get_on_what_changes_something_is_not_allowed(tmp_path: Path) -> None:
    """A link does not rule."""
    async with desk(tmp_path) as now:
        for path in ("/v1/operations/op_1/resolve", "/v1/policies/reload", "/v1/store/accept"):
            answer = await now.get(path)
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_token_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    """Two lines while a rotation is under way, one afterwards; an empty file changes nothing."""
    async with desk(tmp_path, token="old") as now:

        async def status(token: str) -> int:
            return (await now.get("/v1/policies", Authorization=f"Bearer {token}")).status

        (tmp_path / "token").write_text("old\nnew\n")
        assert [await status("old"), await status("new")] == [200, 200]
        (tmp_path / "token").write_text("new-only\n")
        assert [await status("old"), await status("new-only")] == [401, 200]
        (tmp_path / "token").write_text("")
        assert await status("new-only") == 200
