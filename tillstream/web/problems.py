"""Errors as people and programs see them: what is wrong, and what to do."""

import logging
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from tillstream.errors import ServiceError, TillstreamError

log = logging.getLogger("tillstream.web")

_WORDS = {
    404: ("there is nothing here", "the address may be mistyped, or the item unknown"),
    405: ("this address does not take such a request", "see /api/v1/openapi.json"),
}


class Problem(Exception):
    """An answer other than success. `status` is 4xx or 503."""

    def __init__(self, status: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.hint = hint


class SignInNeeded(Exception):
    """Nobody is signed in."""


def not_found(who: str, what: str) -> Problem:
    """What is not there, or not for `who`: they are told the same, and it is logged."""
    log.warning("%s asked for %s: not theirs, or not there", who, what)
    return Problem(404, f"{what} is not known", "it may be another store's, or mistyped")


def register(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(SignInNeeded, _sign_in)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(TillstreamError, _platform)
    app.add_exception_handler(Exception, _unforeseen)


def answer(request: Request, status: int, what: str, hint: str = "") -> Response:
    # What came in may hold letters that cannot be sent back.
    what = what.encode("utf-8", "replace").decode()
    if request.url.path.startswith("/api/"):
        body: dict[str, Any] = {"error": what, "hint": hint}
        return JSONResponse(body, status)
    pages = request.app.state.pages
    if request.headers.get("hx-request"):
        return HTMLResponse(pages.render("problem_part.html", what=what, hint=hint), status)
    return HTMLResponse(
        pages.render("problem.html", status=status, what=what, hint=hint, person=None), status
    )


def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    return answer(request, exc.status, exc.what, exc.hint)


def _sign_in(request: Request, exc: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        reply = answer(request, 401, "who are you?", "send a bearer token, or sign in")
        reply.headers["www-authenticate"] = "Bearer"
        return reply
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
    back = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
    return RedirectResponse(f"/sign-in?next={back}", 303)


def _malformed(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return answer(request, 422, f"{where}: {first['msg']}", "see /api/v1/openapi.json")


def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    what, hint = _WORDS.get(exc.status_code, (str(exc.detail), ""))
    reply = answer(request, exc.status_code, what, hint)
    reply.headers.update(exc.headers or {})
    return reply


def _platform(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, TillstreamError)
    if isinstance(exc, ServiceError):
        log.warning("%s: %s", request.url.path, exc)
        return answer(request, 503, str(exc), exc.hint or "it will be tried again")
    return answer(request, 422, str(exc), exc.hint or "")


def _unforeseen(request: Request, exc: Exception) -> Response:
    # The server logs the exception itself.
    return answer(request, 500, "the console made a mistake", "its log says which; try again")
