"""Who is asking, and may they: the dependencies of every route."""

import secrets
from typing import Annotated

from fastapi import Depends, Request

from tillstream.web.people import Person
from tillstream.web.problems import Problem, SignInNeeded
from tillstream.web.sessions import Session
from tillstream.web.wiring import Console

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"


def console_of(request: Request) -> Console:
    console: Console = request.app.state.console
    return console


def cookie_name(console: Console) -> str:
    # The prefix makes browsers refuse a cookie of this name that came without https.
    return "__Host-tillstream" if console.https else "tillstream"


def session_of(request: Request) -> Session | None:
    console = console_of(request)
    return console.sessions.find(request.cookies.get(cookie_name(console)))


def signed_in(request: Request) -> Session:
    """The browser's session. Raises SignInNeeded, and Problem when a change comes without the
    session's token."""
    session = session_of(request)
    if session is None:
        raise SignInNeeded
    if request.method not in SAFE_METHODS:
        given = request.headers.get(CSRF_HEADER, "")
        if not secrets.compare_digest(given.encode(), session.csrf.encode()):
            raise Problem(403, "this page is too old to act from", "reload it and try again")
    return session


def caller(request: Request) -> Person:
    """A program by its bearer token, or a browser by its session."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if not kind:
        return signed_in(request).person
    person = console_of(request).sessions.bearer(token) if kind.lower() == "bearer" else None
    if person is None:
        raise Problem(401, "this token is not known", "`tillstream web token add` makes one")
    return person


def acting(person: Annotated[Person, Depends(caller)]) -> Person:
    if not person.may_act:
        raise Problem(403, f"{person.name} may look, not act", "ask an admin for another role")
    return person


ConsoleHere = Annotated[Console, Depends(console_of)]
SignedIn = Annotated[Session, Depends(signed_in)]
Caller = Annotated[Person, Depends(caller)]
Acting = Annotated[Person, Depends(acting)]
