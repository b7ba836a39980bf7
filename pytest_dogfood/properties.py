"""What a JUnit report says of an item beyond its outcome."""

from __future__ import annotations

from pytest_dogfood.outcomes import JourneyResult
from pytest_dogfood.scheduling.plan import PlannedJourney


def properties_of(planned: PlannedJourney, result: JourneyResult) -> list[tuple[str, object]]:
    """Give names and values; what does not apply is left out."""
    provisioned = (f"{one.token} {one.how}" for one in result.provisioned)
    proofs = (f"{token}={how}" for token, how in result.proofs.items())
    properties = {
        "dogfood.chain": result.chain,
        "dogfood.tier": str(planned.tier),
        "dogfood.requires": ", ".join(planned.requires),
        "dogfood.establishes": ", ".join(planned.establishes),
        "dogfood.root_cause": str(result.cause or ""),
        "dogfood.provisioned": ", ".join(provisioned),
        "dogfood.proof": ", ".join(proofs),
        "dogfood.trajectory": result.trajectory,
        "dogfood.unjudged": result.unjudged,
        "dogfood.not_cleaned": result.not_cleaned,
    }
    return [(name, value) for name, value in properties.items() if value]
