"""How much an alert matters: by what it is expected to cost, and by how sure that is."""

from decimal import Decimal

from tillstream.alerting.alert import SEVERITIES, Severity
from tillstream.settings import RiskSettings

_DEFAULTS = RiskSettings()
_THRESHOLDS = (_DEFAULTS.critical_margin, _DEFAULTS.high_margin, _DEFAULTS.medium_margin)


def severity_of(
    expected_lost_margin: Decimal,
    *,
    low_confidence: bool = False,
    thresholds: tuple[float, float, float] = _THRESHOLDS,
) -> Severity:
    """From `thresholds` on it is critical, high, medium. One step less where defaults stand in for
    data: nobody should be woken by a guess."""
    rank = sum(expected_lost_margin < Decimal(str(one)) for one in thresholds)
    return SEVERITIES[min(rank + low_confidence, len(SEVERITIES) - 1)]


def is_graver(one: Severity, than: Severity) -> bool:
    return SEVERITIES.index(one) < SEVERITIES.index(than)
