"""Sign-in by OpenID Connect: the authorization code flow with PKCE, state and nonce."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from tillstream.clock import Clock
from tillstream.settings import OidcSettings
from tillstream.web.database import Database
from tillstream.web.oidc.attempts import Attempt, Attempts
from tillstream.web.oidc.id_token import verified
from tillstream.web.oidc.issuer import Issuer

RETURN_PATH = "/sign-in/oidc/return"


@dataclass(frozen=True, slots=True)
class Departure:
    """Where to send the browser, and the secret to send with it in a cookie."""

    url: str
    browser: str


class Provider:
    """Everything raises Refusal when the issuer cannot be used."""

    def __init__(self, oidc: OidcSettings, database: Database, clock: Clock) -> None:
        self.oidc = oidc
        self.attempts = Attempts(database, clock)
        self._issuer = Issuer(oidc, clock)
        self._clock = clock
        self._redirect_uri = f"{(oidc.public_url or '').rstrip('/')}{RETURN_PATH}"

    @property
    def label(self) -> str:
        return self.oidc.label

    def depart(self, back: str) -> Departure:
        endpoint = self._issuer.authorization_endpoint
        state, browser, attempt = self.attempts.begin(back)
        query = {
            "response_type": "code",
            "client_id": self.oidc.client_id or "",
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.oidc.scopes),
            "state": state,
            "nonce": attempt.nonce,
            "code_challenge": challenge(attempt.verifier),
            "code_challenge_method": "S256",
        }
        return Departure(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", browser)

    def claims(self, code: str, attempt: Attempt) -> dict[str, Any]:
        """The verified claims of whoever the issuer gave this code for."""
        token = self._issuer.id_token(
            code, verifier=attempt.verifier, redirect_uri=self._redirect_uri
        )
        return verified(
            token,
            self._issuer.keys(),
            oidc=self.oidc,
            nonce=attempt.nonce,
            now_s=self._clock.now_ms() // 1000,
        )


def challenge(verifier: str) -> str:
    """RFC 7636, 4.2, S256."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
