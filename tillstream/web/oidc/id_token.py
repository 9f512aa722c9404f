"""Whether an ID token is the issuer's, for this console, fresh, and for this very sign-in."""

from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

from tillstream.settings import OidcSettings
from tillstream.web.oidc.refusal import Refusal, setting

# What the issuer alone can sign. With the symmetric ones its public key would be taken as a secret.
ALGORITHMS = tuple(f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512))
_KEY_TYPES = ("RSA", "EC")
_LEEWAY_S = 60
_SETTING_OF_CLAIM = {"iss": "ISSUER", "aud": "CLIENT_ID", "azp": "CLIENT_ID"}


def verified(
    token: str, keys: Any, *, oidc: OidcSettings, nonce: str, now_s: int
) -> dict[str, Any]:
    """The claims of a token that passes every check of OpenID Connect Core 1.0, 3.1.3.7. `keys` is
    the issuer's JWKS. Raises Refusal."""
    try:
        key_set = _key_set(keys)
        # Unknown names in a header are to be ignored (RFC 7515, 4).
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        claims = jwt.decode(token, key_set, algorithms=ALGORITHMS, registry=registry).claims
        jwt.JWTClaimsRegistry(
            now=now_s,
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": oidc.issuer or ""},
            sub={"essential": True},
            aud={"essential": True, "value": oidc.client_id or ""},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
            azp={"essential": len(_listed(claims.get("aud"))) > 1, "value": oidc.client_id or ""},
        ).validate(claims)
    except ClaimError as exc:
        raise _refused_claim(exc) from exc
    except (JoseError, ValueError, TypeError) as exc:
        raise Refusal(
            403,
            "the sign-in could not be proved: the ID token's signature does not hold",
            f"try again; if it stays, an admin checks {setting('ISSUER')}, and that it signs with"
            f" one of {', '.join(ALGORITHMS)}",
            outcome="wrong",
        ) from exc
    return claims


def _refused_claim(exc: ClaimError) -> Refusal:
    if isinstance(exc, ExpiredTokenError) or exc.claim in ("exp", "iat", "nbf"):
        return Refusal(
            403,
            f"the ID token is too old, or not valid yet (claim {exc.claim!r})",
            "try again; if it stays, the clock of the issuer or of the console is wrong",
            outcome="wrong",
        )
    named = _SETTING_OF_CLAIM.get(exc.claim)
    hint = f"an admin checks {setting(named)}" if named else "try again from the sign-in page"
    return Refusal(
        403,
        f"the ID token is not for this sign-in (claim {exc.claim!r})",
        hint,
        outcome="wrong",
    )


def _key_set(keys: Any) -> KeySet:
    """The keys that may sign; those of kinds that nobody here knows are left out."""
    found: list[Key] = []
    for one in keys.get("keys", []) if isinstance(keys, Mapping) else []:
        if not isinstance(one, dict) or one.get("kty") not in _KEY_TYPES:
            continue
        if one.get("use", "sig") != "sig":
            continue
        try:
            found.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, KeyError):
            continue
    return KeySet(found)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
