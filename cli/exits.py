"""How the command ends: the exit codes that scripts may rely on (contract, section 5)."""

from __future__ import annotations

import enum

import click


class Exit(enum.IntEnum):
    """Exit codes, the same for every subcommand."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5


class NotFound(click.ClickException):
    """What was asked for is not there."""

    exit_code = Exit.NOT_FOUND


class Conflict(click.ClickException):
    """Another party was there first: an address in use, a store that is owned, a ruling that stands."""

    exit_code = Exit.CONFLICT


class Unreachable(click.ClickException):
    """A store or a server that the command needs does not answer."""

    exit_code = Exit.UNREACHABLE
