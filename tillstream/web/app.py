"""The console as a web application."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from tillstream.web import problems
from tillstream.web.guard import Guard
from tillstream.web.pages import STATIC, Pages
from tillstream.web.routes import api, health, item, now, signing, single, stores
from tillstream.web.wiring import Console


def create_app(console: Console, *, hosts: Collection[str] = ()) -> FastAPI:
    """The application over `console`, which starts and stops with it. It answers to the names
    `hosts` only; none given, to every name."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        console.start()
        try:
            yield
        finally:
            console.close()

    app = FastAPI(
        title="tillstream",
        summary="Restock alerts and what people do to them, items, stores and health.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.console = console
    app.state.pages = Pages()
    for routes in (signing, single, now, item, stores, health, api):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    problems.register(app)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=3)
    app.add_middleware(Guard, hosts=hosts, https=console.https)
    return app
