"""Talking with the issuer: what it says of itself, its keys, and ID tokens for codes."""

import re
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import httpx

from tillstream.clock import Clock
from tillstream.settings import OidcSettings, may_carry_secrets
from tillstream.web.oidc.refusal import Refusal, setting

_TIMEOUT_S = 5.0
_KEPT_MS = 10 * 60_000
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class Issuer:
    """Its discovery document is kept for ten minutes; its keys are asked for at every sign-in, so
    new ones count at once. Every method raises Refusal."""

    def __init__(self, oidc: OidcSettings, clock: Clock) -> None:
        self._oidc = oidc
        self._clock = clock
        self._guard = threading.Lock()
        self._known: tuple[int, dict[str, Any]] | None = None

    @property
    def authorization_endpoint(self) -> str:
        return str(self._document()["authorization_endpoint"])

    def keys(self) -> Any:
        return self._json("GET", self._document()["jwks_uri"])

    def id_token(self, code: str, *, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code, not yet verified."""
        document = self._document()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        name, secret = self._oidc.client_id or "", ""
        if self._oidc.client_secret is not None:
            secret = self._oidc.client_secret.get_secret_value()
        ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        login: httpx.BasicAuth | None = None
        if "client_secret_basic" in ways or "client_secret_post" not in ways:
            # Both parts are encoded as in a form (RFC 6749, 2.3.1).
            login = httpx.BasicAuth(quote_plus(name), quote_plus(secret))
        else:
            form |= {"client_id": name, "client_secret": secret}
        answer = self._json("POST", document["token_endpoint"], form=form, login=login)
        token = answer.get("id_token") if isinstance(answer, Mapping) else None
        if not isinstance(token, str):
            raise _unusable("it gave no ID token")
        return token

    def _document(self) -> dict[str, Any]:
        with self._guard:
            now_ms = self._clock.now_ms()
            if self._known is not None and now_ms < self._known[0] + _KEPT_MS:
                return self._known[1]
            issuer = self._oidc.issuer or ""
            found = self._json("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if not isinstance(found, dict) or found.get("issuer") != issuer:
                raise _unusable("its discovery document names another issuer")
            for name in _ENDPOINTS:
                address = found.get(name)
                if not isinstance(address, str) or not may_carry_secrets(address):
                    raise _unusable(f"its {name} is no https address")
            self._known = (now_ms, found)
            return found

    def _json(
        self,
        method: str,
        url: str,
        *,
        form: dict[str, str] | None = None,
        login: httpx.BasicAuth | None = None,
    ) -> Any:
        try:
            with httpx.Client(verify=self._trust(), timeout=_TIMEOUT_S) as client:
                answer = client.request(
                    method, url, data=form, auth=login, headers={"accept": "application/json"}
                )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise Refusal(
                503,
                f"the issuer cannot be reached ({type(exc).__name__})",
                f"try again soon, or sign in with a local user; an admin checks"
                f" {setting('ISSUER')} and {setting('CA_FILE')}",
                outcome="issuer away",
            ) from exc
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and body is not None:
            return body
        raise _failed(answer.status_code, body)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._oidc.ca_file)


def _failed(status: int, body: Any) -> Refusal:
    code = body.get("error") if isinstance(body, Mapping) else None
    if code == "invalid_grant":
        return Refusal(
            403,
            "the issuer does not know this sign-in any more",
            f"try again; if it stays, an admin checks {setting('PUBLIC_URL')}",
            outcome="wrong",
        )
    if code in ("invalid_client", "unauthorized_client"):
        return Refusal(
            503,
            "the issuer does not accept this console's own login",
            f"an admin checks {setting('CLIENT_ID')} and {setting('CLIENT_SECRET')}",
            outcome="misconfigured",
        )
    told = code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else "no reason given"
    return _unusable(f"it answered {status}, {told}")


def _unusable(why: str) -> Refusal:
    return Refusal(
        503,
        f"the issuer cannot be used: {why}",
        f"an admin checks {setting('ISSUER')} and the client's registration there",
        outcome="misconfigured",
    )
