"""Who may use a port for people and programs; `tests/proxy/test_admission.py` asks the same of a whole admin port."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from process.admission import Admission, NotAdmitted
from process.tokens import Tokens

JSON = {"Content-Type": "application/json"}


def tokens(folder: Path) -> Tokens:
    """Return a file's one token, `s3cret`."""
    file = folder / "token"
    file.write_text("s3cret\n")
    return Tokens(str(file))


@pytest.mark.parametrize("host", ["localhost:8110", "127.0.0.1:8110", "[::1]:8110", "10.0.0.7:8110"])
def test_loopback_and_the_bound_address_are_let_in_without_a_token(host: str) -> None:
    """A name of this machine, or the address that was bound."""
    Admission("10.0.0.7", None, "--token-file").check(make_mocked_request("GET", "/", {"Host": host}))


@pytest.mark.parametrize("host", ["rebound.example:8110", "", "127.0.0.1.example"])
def test_name_that_is_not_ours_is_turned_away(host: str) -> None:
    """A page whose name was made to resolve to loopback gets nothing; the remedy names this port's own flag."""
    with pytest.raises(NotAdmitted) as turned:
        Admission("127.0.0.1", None, "--token-file").check(make_mocked_request("GET", "/", {"Host": host}))
    assert (turned.value.why, turned.value.field) == ("forbidden", "Host")
    assert "--token-file" in turned.value.remedy


def test_token_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    """The right one lets in under any name; none, a wrong one and another scheme do not."""
    admission = Admission("127.0.0.1", tokens(tmp_path), "--token-file")
    admission.check(make_mocked_request("GET", "/", {"Host": "any.example", "Authorization": "Bearer s3cret"}))
    for field in ("Bearer wrong", "Basic s3cret", "Bearer"):
        with pytest.raises(NotAdmitted) as turned:
            admission.check(make_mocked_request("GET", "/", {"Host": "localhost", "Authorization": field}))
        assert turned.value.why == "unauthorized"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Content-Type": "text/plain"}],
)  # fmt: skip
def test_change_asked_for_by_another_sites_page_is_turned_away(headers: dict[str, str]) -> None:
    """What a page of another site can send is not enough to change anything; reading is not affected."""
    admission = Admission("127.0.0.1", None, "--token-file")
    with pytest.raises(NotAdmitted):
        admission.check(make_mocked_request("POST", "/", {"Host": "localhost"} | JSON | headers))
    admission.check(make_mocked_request("POST", "/", {"Host": "localhost"} | JSON))
    admission.check(make_mocked_request("GET", "/", {"Host": "localhost"} | headers))
