"""The API as an aiohttp application: who may ask, what refusals look like, and the probes beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from coordinator.api import Api
from coordinator.metrics import Metrics
from coordinator.problems import CONTENT_TYPE, Kind, Refused
from coordinator.records import CorruptRecord
from coordinator.requests import BODY_BYTES_MAX
from ledger.store import StoreUnavailable
from process.admission import Admission, NotAdmitted
from process.health import Health, health_routes
from process.log import Log

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN = ("/startupz", "/livez", "/readyz", "/metrics")
SIGNED = "/v1/webhooks/"

_KINDS = {
    "unauthorized": Kind.UNAUTHORIZED, "forbidden": Kind.FORBIDDEN, "media-type": Kind.MEDIA_TYPE,
}  # fmt: skip


def application(api: Api, admission: Admission, health: Health, metrics: Metrics, log: Log) -> web.Application:
    """Return the application. Notifications are let in by their signature, probes by anybody, the rest by
    `admission`."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path not in OPEN and not request.path.startswith(SIGNED):
                admission.check(request)
            return await handler(request)
        except NotAdmitted as error:
            refused = Refused(_KINDS[error.why], str(error), field=error.field, remedy=error.remedy)
        except Refused as error:
            refused = error
        except StoreUnavailable as error:
            refused = Refused(Kind.STORE_UNAVAILABLE, str(error), remedy="send it again: nothing is done twice")
        except CorruptRecord as error:
            log.event("record.unreadable", level="error", path=request.path, detail=str(error))
            refused = Refused(Kind.INTERNAL, str(error))
        except web.HTTPRequestEntityTooLarge:
            refused = Refused(Kind.TOO_LARGE, f"the body is larger than {BODY_BYTES_MAX} bytes")
        except web.HTTPMethodNotAllowed as error:
            refused = Refused(
                Kind.METHOD, f"{request.method} is not understood", remedy=f"use {error.headers['Allow']}"
            )
        except web.HTTPNotFound:
            refused = Refused(Kind.NOT_FOUND, f"there is nothing at {request.path}")
        except Exception as error:  # noqa: BLE001  the one place where what nobody expected becomes an answer
            log.event("request.failed", level="error", path=request.path, error=repr(error))
            refused = Refused(Kind.INTERNAL, "the log says more")
        return web.Response(
            body=refused.document(), status=refused.kind.value.status, content_type=CONTENT_TYPE,
            headers=refused.headers(),
        )  # fmt: skip

    served = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[guarded])
    served.add_routes([*api.routes(), *health_routes(health, metrics.registry)])
    return served
