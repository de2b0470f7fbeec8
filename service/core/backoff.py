"""How long to wait before the next attempt."""


def delay_seconds(attempt: int, *, base: float, maximum: float, chance: float) -> float:
    """Return the wait after failed `attempt` (1 is the first), in seconds.

    Exponential: `base`, twice, four times, ... up to `maximum`, of which `chance` (0 to 1, drawn
    by the caller) takes up to half away, so that runs that failed together do not return together.
    """
    exponent = min(attempt - 1, 62)  # past this every base has met its maximum
    full: float = min(maximum, base * 2**exponent)
    return full * (1 - chance / 2)
