"""The wire format of protobuf, as far as spans need it.

A message is its fields one behind the other, a field its tag and its value
(https://protobuf.dev/programming-guides/encoding/).
"""

from functools import lru_cache
from typing import Final

__all__ = ["FIXED_32", "FIXED_64", "SIZED", "VARINT", "signed", "sized", "tag", "varint"]

VARINT: Final = 0
FIXED_64: Final = 1
SIZED: Final = 2
FIXED_32: Final = 5


def tag(number: int, wire_type: int) -> bytes:
    """Write what stands before the value of a field."""
    return varint(number << 3 | wire_type)


def sized(content: bytes) -> bytes:
    """Write a text, bytes or a message as a value."""
    return varint(len(content)) + content


def signed(number: int) -> bytes:
    """Write an integer of 64 bits. Raises OverflowError for one of more."""
    return varint(int.from_bytes(number.to_bytes(8, signed=True)))


@lru_cache(maxsize=1024)
def varint(number: int) -> bytes:
    """Write a number that is not negative, seven bits a byte; the eighth says that more come."""
    low, rest = number & 0x7F, number >> 7
    return bytes((low | 0x80,)) + varint(rest) if rest else bytes((low,))
