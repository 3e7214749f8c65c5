"""How long ago the user bought something."""

DAY_S = 86_400


def compute(event: dict) -> dict:
    """Days from the last purchase to the event; 0 where the event is one, null where no purchase is known."""
    bought_at = event["last_purchase_at"]
    if bought_at is None:
        return {"days_since_purchase": None}
    return {
        "days_since_purchase": (event["timestamp"] - bought_at).total_seconds() / DAY_S
    }
