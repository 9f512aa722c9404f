"""How much an alert matters: by what it is expected to cost, and by how sure that is."""

from decimal import Decimal

from tillstream.alerting.alert import SEVERITIES, Severity

# Expected lost margin, in the chain's currency, from which an alert is critical, high, medium.
_FROM = (Decimal(50), Decimal(20), Decimal(5))


def severity_of(
    expected_lost_margin: Decimal,
    *,
    low_confidence: bool = False,
    thresholds: tuple[Decimal, Decimal, Decimal] = _FROM,
) -> Severity:
    """One step less where defaults stand in for data: nobody should be woken by a guess."""
    rank = sum(expected_lost_margin < threshold for threshold in thresholds)
    return SEVERITIES[min(rank + low_confidence, len(SEVERITIES) - 1)]
