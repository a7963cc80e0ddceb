"""How commands ask a proxy's admin port or a coordinator, and what their refusals mean for the command's end.

Python's own HTTP client: `holdfast ops` answers before a larger one would have been imported.
"""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.exits import Conflict, NotFound, Unreachable
from cli.output import plain

ASK_S = 30.0
"""For one answer; the longest look that the admin port takes at its store is a third of it."""

Decorated = TypeVar("Decorated", bound=Callable[..., object])


def admin_options(command: Decorated) -> Decorated:
    """Add `--admin` and `--token-file` to a command, which gets an `Admin` as `admin`."""
    token = click.option(
        "--token-file", envvar="HOLDFAST_TOKEN_FILE", type=click.Path(exists=True, dir_okay=False),
        help="The proxy's --admin-token-file.",
    )  # fmt: skip
    url = click.option(
        "--admin", envvar="HOLDFAST_ADMIN", metavar="URL", default="http://127.0.0.1:8101", show_default=True,
        help="Admin port of a proxy: any of those that share the store.",
    )  # fmt: skip
    return url(token(command))


def coordinator_options(command: Decorated) -> Decorated:
    """Add `--coordinator` and `--token-file` to a command, which gets an address as `coordinator`."""
    token = click.option(
        "--token-file", envvar="HOLDFAST_TOKEN_FILE", type=click.Path(exists=True, dir_okay=False),
        help="The coordinator's --token-file.",
    )  # fmt: skip
    url = click.option(
        "--coordinator", envvar="HOLDFAST_COORDINATOR", metavar="URL", default="http://127.0.0.1:8110",
        show_default=True, help="Any of the coordinators that share the store.",
    )  # fmt: skip
    return url(token(command))


def default_actor() -> str:
    """Return who is asking, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


class Admin:
    """One admin port, or whatever `what` names. Refusals become the exceptions of `cli.exits`."""

    def __init__(
        self, url: str, token_file: str | None, what: str = "proxy's admin port", flag: str = "--admin"
    ) -> None:
        """Take the options' values. Raises a usage error for a URL without sense."""
        self._what = what
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")
        parts = urllib.parse.urlsplit(self._url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise click.BadParameter(f"{url!r} is neither a URL nor HOST:PORT", param_hint=flag)
        lines = Path(token_file).read_text().split() if token_file is not None else []
        self._headers = {"Authorization": f"Bearer {lines[-1]}"} if lines else {}
        # The port is on this machine or forwarded to it: a proxy from the environment has no business in between.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: str | int) -> Any:
        """Return what a GET is answered with."""
        with self._open(path, query) as answer:
            return json.load(answer)

    def post(self, path: str, told: Any) -> Any:
        """Return what a POST of `told` is answered with."""
        with self._open(path, {}, json.dumps(told).encode()) as answer:
            return json.load(answer)

    def pages(
        self, path: str = "/v1/operations", name: str = "operations", **query: str | int
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield a listing part by part: of operations, or what `path` lists under `name`."""
        cursor = ""
        while True:
            page = self.get(path, **query, cursor=cursor)
            yield page[name]
            cursor = page["cursor"]
            if not cursor:
                return

    def events(self, **query: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the log's lines as they come, as (`message`, line), and (`dropped`, count) where some were missed."""
        name = "message"
        with self._open("/v1/events", query, patience_s=None) as answer:
            try:
                for line in answer:
                    if line.startswith(b"event: "):
                        name = line[7:].decode().strip()
                    elif line.startswith(b"data: "):
                        yield name, json.loads(line[6:])
                        name = "message"
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"{self._url}: {error}") from None

    def _open(
        self, path: str, query: dict[str, Any], data: bytes | None = None, patience_s: float | None = ASK_S
    ) -> Any:
        given = urllib.parse.urlencode({name: value for name, value in query.items() if value not in ("", None)})
        headers = self._headers | ({"Content-Type": "application/json"} if data is not None else {})
        asked = urllib.request.Request(  # noqa: S310  the scheme was looked at when the address was taken
            f"{self._url}{path}" + (f"?{given}" if given else ""), data=data, headers=headers
        )
        try:
            return self._opener.open(asked, timeout=patience_s)
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise _refused(refusal.code, refusal.read(), f"{self._url} is no {self._what} of Holdfast's") from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            raise Unreachable(f"no {self._what} answers at {self._url}: {why}") from None


def quoted(part: str) -> str:
    """Return one part of a path."""
    return urllib.parse.quote(part, safe="")


def _refused(status: int, body: bytes, stranger: str) -> click.ClickException:
    try:
        problem = json.loads(body)
        told = ": ".join(plain(str(problem[name])) for name in ("field", "detail") if problem.get(name))
        remedy = plain(str(problem.get("remedy", "")))
        told += f". {remedy[0].upper()}{remedy[1:]}" if remedy else ""
        told += "".join(f"\n{plain(str(fault))}" for fault in problem.get("faults", ()))
    except (ValueError, TypeError, KeyError):
        told = f"{stranger} (status {status})"
    match status:
        case 404:
            return NotFound(told)
        case 409:
            return Conflict(told)
        case 503:
            return Unreachable(told)
        case 400 | 401 | 403 | 413:
            return click.UsageError(told)
        case _:
            return click.ClickException(told)
