"""Names for runs: unique everywhere, and in the order of their birth."""

from datetime import datetime


def run_id(now: datetime, chance: bytes) -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7) from the instant and ten random bytes."""
    milliseconds = int(now.timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(chance[:10], "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
