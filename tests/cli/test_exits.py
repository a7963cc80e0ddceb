"""The exit codes are a contract with scripts."""

from __future__ import annotations

import click
import pytest

from cli.exits import Conflict, NotFound, Unreachable


@pytest.mark.parametrize(("problem", "code"), [(NotFound, 3), (Conflict, 4), (Unreachable, 5)])
def test_problem_raised_in_a_command_becomes_its_exit_code(problem: type[click.ClickException], code: int) -> None:
    """A command says what is wrong by its exception; the process ends with the code that the contract gives it."""

    @click.command()
    def failing() -> None:
        raise problem("the reason")

    with pytest.raises(SystemExit) as ended:
        failing.main([])
    assert ended.value.code == code
