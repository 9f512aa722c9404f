"""Who uses the console, and what each of them may see and do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """From least to most. A store manager sees and acts on their own stores only."""

    VIEWER = "viewer"
    STORE_MANAGER = "store-manager"
    ON_CALL = "on-call"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Scope:
    """The stores whose rows may be read; None is every store. Every query takes one, so that none
    can forget it."""

    stores: frozenset[str] | None = None

    def sees(self, store_id: str) -> bool:
        return self.stores is None or store_id in self.stores

    @property
    def listed(self) -> list[str]:
        return sorted(self.stores or ())

    @property
    def key(self) -> str:
        """The same for everybody who sees the same."""
        return "*" if self.stores is None else "\n".join(self.listed)


EVERY_STORE = Scope()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in, or a program that acts for them."""

    name: str
    role: Role
    stores: frozenset[str] = frozenset()

    @property
    def scope(self) -> Scope:
        return Scope(self.stores) if self.role is Role.STORE_MANAGER else EVERY_STORE

    @property
    def may_act(self) -> bool:
        return self.role is not Role.VIEWER

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


# Whoever starts a console on their own machine and follows its link needs no account.
LOCAL = Person("local", Role.ADMIN)
