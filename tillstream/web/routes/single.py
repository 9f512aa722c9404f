"""Coming in by OpenID Connect."""

import logging

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from tillstream.web.gate import ConsoleHere, cookie_name, session_of
from tillstream.web.oidc.attempts import ATTEMPT_MINUTES, Attempt
from tillstream.web.oidc.members import PREFIX
from tillstream.web.oidc.membership import member, name_of
from tillstream.web.oidc.provider import RETURN_PATH, Provider
from tillstream.web.oidc.refusal import Refusal, setting
from tillstream.web.people import Person
from tillstream.web.problems import Problem
from tillstream.web.routes.signing import address_of, own, start_session
from tillstream.web.sign_ins import LOCK_MINUTES
from tillstream.web.wiring import Console

log = logging.getLogger("tillstream.web")

router = APIRouter(include_in_schema=False)

OUTCOME = "signed in by oidc"
_AGAIN = "try again from the sign-in page"
# Nobody's name is known before the ID token is proved.
_SOMEBODY = f"{PREFIX}?"


@router.get("/sign-in/oidc")
def depart(request: Request, console: ConsoleHere, next: str = "/") -> Response:
    provider = _provider(console)
    if session_of(request) is not None:
        return RedirectResponse(own(next), 303)
    address = address_of(request)
    _check_address(console, address)
    try:
        departure = provider.depart(own(next))
    except Refusal as refusal:
        raise _noted(console, address, refusal) from refusal
    reply = RedirectResponse(departure.url, 303)
    reply.set_cookie(
        _cookie(console),
        departure.browser,
        max_age=ATTEMPT_MINUTES * 60,
        httponly=True,
        secure=console.https,
        samesite="lax",
    )
    return reply


@router.get(RETURN_PATH)
def arrive(
    request: Request, console: ConsoleHere, state: str = "", code: str = "", error: str = ""
) -> Response:
    provider = _provider(console)
    address = address_of(request)
    _check_address(console, address)
    try:
        attempt = _attempt(request, console, provider, state)
        person = _person(console, provider, attempt, address=address, code=code, error=error)
    except Refusal as refusal:
        raise _noted(console, address, refusal) from refusal
    console.sign_ins.note(person.name, address, OUTCOME)
    reply = start_session(console, person, to=own(attempt.back))
    reply.delete_cookie(_cookie(console), secure=console.https, httponly=True, samesite="lax")
    return reply


def _attempt(request: Request, console: Console, provider: Provider, state: str) -> Attempt:
    attempt = provider.attempts.take(state, request.cookies.get(_cookie(console), ""))
    if attempt is None:
        raise Refusal(
            403,
            "this sign-in was used already, is too old, or was begun in another browser",
            f"{_AGAIN}: it holds for {ATTEMPT_MINUTES} minutes, and needs cookies",
            outcome="no such attempt",
        )
    return attempt


def _person(
    console: Console, provider: Provider, attempt: Attempt, *, address: str, code: str, error: str
) -> Person:
    if error == "access_denied":
        raise Refusal(403, "the sign-in was cancelled, or refused", _AGAIN, outcome="cancelled")
    if error or not code:
        raise Refusal(
            503,
            "the issuer did not sign you in",
            "try again; if it stays, an admin checks the client's registration at the issuer,"
            f" and {setting('SCOPES')}",
            outcome="issuer refused",
        )
    claims = provider.claims(code, attempt)
    subject: str = claims["sub"]
    name = _SOMEBODY
    try:
        name = name_of(claims, provider.oidc)
        person = member(name, claims, provider.oidc)
        if not console.members.enter(subject, person):
            raise Refusal(
                403,
                f"the name {name} belongs to somebody else here",
                "an admin can remove that user (tillstream web user remove), or choose a claim in"
                f" {setting('NAME_CLAIM')} that no two people share",
                outcome="name taken",
            )
    except Refusal as refusal:
        console.members.shut_out(subject)
        raise _noted(console, address, refusal, name=name) from None
    return person


def _noted(console: Console, address: str, refusal: Refusal, *, name: str = _SOMEBODY) -> Problem:
    """The refusal as it is shown, once it is in the record."""
    console.sign_ins.note(name, address, refusal.outcome)
    log.warning("sign-in by OpenID Connect: %s", refusal.what)
    return Problem(refusal.status, refusal.what, refusal.hint)


def _provider(console: Console) -> Provider:
    if console.provider is None:
        raise Problem(404, "there is nothing here", "sign in with a name and password")
    return console.provider


def _check_address(console: Console, address: str) -> None:
    if console.sign_ins.locked(None, address):
        console.sign_ins.note(_SOMEBODY, address, "locked")
        raise Problem(
            429,
            "too many sign-ins from your address were refused",
            f"try again in {LOCK_MINUTES} minutes",
        )


def _cookie(console: Console) -> str:
    return f"{cookie_name(console)}-oidc"
