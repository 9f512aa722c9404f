"""Who somebody is and what they may do, by the claims of their ID token."""

from collections.abc import Mapping
from typing import Any

from tillstream.settings import OidcSettings
from tillstream.web.oidc.members import PREFIX
from tillstream.web.oidc.refusal import Refusal, setting
from tillstream.web.people import Person, Role

_LONGEST_NAME = 64 - len(PREFIX)
_LONGEST_STORE = 64


def name_of(claims: Mapping[str, Any], oidc: OidcSettings) -> str:
    """Their name here. Raises Refusal when the claim is absent or odd."""
    name = _claim(claims, oidc.name_claim)
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or name != name.strip()
        or not 0 < len(name) <= _LONGEST_NAME
    ):
        raise Refusal(
            403,
            f"your account has no name that can be used in its claim {oidc.name_claim!r}",
            f"an admin can name another claim in {setting('NAME_CLAIM')},"
            f" or another scope in {setting('SCOPES')}",
            outcome="no name",
        )
    return PREFIX + name


def member(name: str, claims: Mapping[str, Any], oidc: OidcSettings) -> Person:
    """The highest role that their groups give, in the order of Role. Raises Refusal when there is
    none, or when a store manager has no store."""
    groups = _texts(_claim(claims, oidc.groups_claim))
    roles = [Role(oidc.roles[group]) for group in groups if group in oidc.roles]
    if not roles:
        raise Refusal(
            403,
            f"you are known as {name}, but no group of yours has a role here",
            "ask those who manage your groups to add you to one that may use this console;"
            f" admins see which in {setting('ROLES')} (claim {oidc.groups_claim!r})",
            outcome="no role",
        )
    role = max(roles, key=list(Role).index)
    if role is not Role.STORE_MANAGER:
        return Person(name, role)
    stores = {store for group in groups for store in oidc.stores.get(group, ())}
    if oidc.stores_claim is not None:
        stores |= set(_texts(_claim(claims, oidc.stores_claim)))
    stores = {one for one in stores if one.isprintable() and 0 < len(one) <= _LONGEST_STORE}
    if not stores:
        raise Refusal(
            403,
            f"you are known as {name}, a store manager without a store",
            "ask those who manage your groups which store is yours;"
            f" admins see how in {setting('STORES')} and {setting('STORES_CLAIM')}",
            outcome="no store",
        )
    return Person(name, role, frozenset(stores))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(value: Any) -> list[str]:
    """A claim of one or several texts or whole numbers."""
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
