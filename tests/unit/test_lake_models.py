"""Versions of a model in a folder."""

from pathlib import Path

import pytest

from lake.client import connect
from lake.models import Registry
from tillstream.errors import ConfigError
from tillstream.settings import LakeSettings


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(connect(LakeSettings(), url=tmp_path.as_uri()), "demand-forecast")


def test_versions_are_numbered_and_kept(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.current() is None
    assert registry.save({"a": 1}, {"trees.ubj": b"one"}) == 1
    assert registry.save({"a": 2}, {"trees.ubj": b"two"}) == 2
    assert registry.versions() == [1, 2]
    assert registry.card(1) == {"a": 1, "version": 1}
    assert registry.file(2, "trees.ubj") == b"two"


def test_an_interrupted_save_leaves_no_version(registry: Registry) -> None:
    registry.lake.write_bytes("models/demand-forecast/v1/trees.ubj", b"half")
    assert registry.versions() == []
    assert registry.save({}, {"trees.ubj": b"whole"}) == 1
    assert registry.file(1, "trees.ubj") == b"whole"


def test_promoted_and_rolled_back(registry: Registry) -> None:
    for _ in range(3):
        registry.save({}, {})
    registry.promote(1)
    registry.promote(3)
    registry.promote(3)
    assert registry.current() == 3
    assert registry.rollback() == 1
    assert registry.current() == 1
    with pytest.raises(ConfigError, match="no version of demand-forecast was in service before"):
        registry.rollback()


def test_a_version_that_is_not_there_is_told(registry: Registry) -> None:
    registry.save({}, {})
    with pytest.raises(ConfigError, match="demand-forecast has no version 7") as caught:
        registry.promote(7)
    assert caught.value.hint == "there are [1]"
    with pytest.raises(ConfigError, match="is not a model's name"):
        Registry(registry.lake, "../secrets")


def test_old_versions_expire_but_never_what_served_last(registry: Registry) -> None:
    for number in range(1, 7):
        registry.save({}, {"trees.ubj": b"%d" % number})
    for number in (1, 2, 3):
        registry.promote(number)
    registry.lake.write_bytes("models/demand-forecast/v7/trees.ubj", b"half: being saved")
    assert registry.expire(keep=2) == [1, 4]
    assert registry.versions() == [2, 3, 5, 6]
    assert registry.current() == 3
    left = {info.name for info in registry.lake.list("models/demand-forecast")}
    assert not any("/v1/" in name or "/v4/" in name for name in left)
    assert "models/demand-forecast/v7/trees.ubj" in left
    assert registry.expire(keep=2) == []
    assert registry.rollback() == 2
    with pytest.raises(ConfigError, match="no version of demand-forecast was in service before"):
        registry.rollback()


def test_an_expiry_that_was_interrupted_is_ended_by_the_next(registry: Registry) -> None:
    for _ in range(4):
        registry.save({}, {"trees.ubj": b"trees"})
    registry.lake.delete("models/demand-forecast/v1/card.json")
    assert registry.expire(keep=3) == []
    left = [info.name for info in registry.lake.list("models/demand-forecast")]
    assert not any("/v1/" in name for name in left)
    assert registry.save({}, {}) == 5


def test_nothing_expires_where_there_is_nothing(registry: Registry) -> None:
    assert registry.expire(keep=2) == []
    registry.save({}, {})
    assert registry.expire(keep=2) == []
    assert registry.current() is None


def test_the_only_version_may_give_way_to_none(registry: Registry) -> None:
    registry.promote(registry.save({}, {}))
    assert registry.rollback(to_none=True) is None
    assert registry.current() is None
    with pytest.raises(ConfigError, match="was in service before"):
        registry.rollback(to_none=True)
    registry.promote(1)
    assert registry.current() == 1
