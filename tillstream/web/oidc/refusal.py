"""Why somebody could not come in by OpenID Connect."""

from tillstream.web.problems import Problem


class Refusal(Problem):
    """`outcome` is what the record of sign-ins says. No message holds a token or a secret."""

    def __init__(self, status: int, what: str, hint: str, *, outcome: str) -> None:
        super().__init__(status, what, hint)
        self.outcome = outcome


def setting(name: str) -> str:
    return f"TILLSTREAM_WEB__OIDC__{name}"
