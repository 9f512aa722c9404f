"""Schema ids from a Confluent-compatible schema registry, over its REST interface."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import httpx

from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import RegistrySettings

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_TIMEOUT_S = 10.0
_HINT = "check TILLSTREAM_REGISTRY__URL, or leave it unset to use the checked-in schema ids"


def schema_ids(registry: RegistrySettings, schemas: Sequence[tuple[str, str]]) -> list[int]:
    """The registry's id of each (subject, schema text), in order; a schema it lacks is registered.

    Guarantees that the id leads back to a schema in the registry. Raises ConfigError when the
    registry refuses a schema or the credentials, ServiceError when it cannot be reached or answers
    with anything that is not the Confluent protocol.
    """
    if registry.url is None:
        raise ConfigError("no schema registry is configured", hint=_HINT)
    auth = None
    if registry.username is not None:
        password = registry.password.get_secret_value() if registry.password else ""
        auth = (registry.username, password)
    try:
        with httpx.Client(
            base_url=registry.url.rstrip("/") + "/", auth=auth, timeout=_TIMEOUT_S
        ) as client:
            return [_schema_id(client, subject, text) for subject, text in schemas]
    except httpx.InvalidURL as exc:
        raise ConfigError(f"schema registry address {registry.url!r}: {exc}", hint=_HINT) from exc
    except httpx.HTTPError as exc:
        reason = str(exc) or type(exc).__name__
        raise ServiceError(
            f"schema registry at {registry.url} cannot be reached: {reason}", hint=_HINT
        ) from exc


def _schema_id(client: httpx.Client, subject: str, text: str) -> int:
    # Asking first needs only read rights, so that a locked registry filled by CI works too.
    found = _post(client, f"subjects/{subject}", text)
    if found.status_code == HTTPStatus.NOT_FOUND:
        found = _post(client, f"subjects/{subject}/versions", text)
    schema_id = _answer(client, found, f"subject {subject}").get("id")
    if not isinstance(schema_id, int):
        raise ServiceError(
            f"schema registry at {client.base_url} gave no id for subject {subject}", hint=_HINT
        )
    held = client.get(f"schemas/ids/{schema_id}")
    if "schema" not in _answer(client, held, f"schema id {schema_id} of subject {subject}"):
        raise ServiceError(
            f"schema registry at {client.base_url} has no schema under its own id {schema_id}",
            hint=_HINT,
        )
    return schema_id


def _post(client: httpx.Client, path: str, text: str) -> httpx.Response:
    return client.post(path, json={"schema": text}, headers={"Content-Type": _CONTENT_TYPE})


def _answer(client: httpx.Client, response: httpx.Response, what: str) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        return body
    said = body.get("message") if isinstance(body, dict) else None
    reason = f"HTTP {response.status_code}" + (f", {said}" if said else "")
    where = f"schema registry at {client.base_url}"
    if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise ConfigError(
            f"{where} refused the credentials ({reason})",
            hint="set TILLSTREAM_REGISTRY__USERNAME and TILLSTREAM_REGISTRY__PASSWORD",
        )
    if response.status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
        raise ConfigError(
            f"{where} refused the schema of {what} ({reason})",
            hint="the registry holds an incompatible schema under this subject",
        )
    raise ServiceError(f"{where} did not answer for {what} ({reason})", hint=_HINT)
