"""The application: routes handed in, errors told in one form, nothing that says more than it must."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import APIRouter, FastAPI

from producers.gateway.intake import Intake
from producers.gateway.intake_rules import IntakeRules
from producers.gateway.measuring import Measured, Observe
from producers.gateway.openapi import tell_openapi
from producers.gateway.problems import tell_problems

TITLE: Final = "Headrace gateway"
VERSION: Final = "1"

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def no_lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Nothing to open or to close."""
    yield


def gateway_app(
    routers: Sequence[APIRouter],
    lifespan: Lifespan = no_lifespan,
    observe: Observe | None = None,
    intake: IntakeRules | None = None,
) -> FastAPI:
    """The application of `routers`; `lifespan` opens and closes what they stand on.

    `observe` is told each answer of a route, `intake` bounds what comes in.
    """
    app = FastAPI(title=TITLE, version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None)
    for router in routers:
        app.include_router(router)
    tell_problems(app)
    tell_openapi(app)
    if observe is not None:
        app.add_middleware(Measured, observe=observe)
    # Added last, so the outermost: nothing of ours sees what it refuses.
    app.add_middleware(Intake, rules=intake or IntakeRules())
    return app
