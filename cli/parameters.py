"""What several commands take: durations with units, addresses to listen on, whether to trace."""

from __future__ import annotations

import click

from policies.units import duration_ms
from process.tracing import Mode, require


class Duration(click.ParamType[int]):
    """A duration with its unit (`15s`, `10m`), as milliseconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or fail as click does."""
        if isinstance(value, int):
            return value
        try:
            return duration_ms(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`; an IPv6 address goes in brackets; port 0 takes a free one."""

    name = "host:port"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Read it, or fail as click does."""
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return host.strip("[]"), int(port)


tracing = click.option(
    "--tracing", type=click.Choice(["off", "otlp"]), default="off", show_default=True,
    help="Spans to an OpenTelemetry collector; OTEL_EXPORTER_OTLP_ENDPOINT says where.",
)  # fmt: skip


def checked_tracing(mode: Mode) -> Mode:
    """Return what `--tracing` says, or fail as click does where the library for it is not installed."""
    try:
        require(mode)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    return mode
