"""What every question to the store is."""

from typing import Generic, TypeVar

V_co = TypeVar("V_co", covariant=True)


class Question(Generic[V_co]):
    """Something the store can answer with a `V`."""
