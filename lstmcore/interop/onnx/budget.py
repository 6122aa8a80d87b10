"""What reading a file may take before its model runs: one budget for all of its graphs, and all tries of them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lstmcore.errors import SpecError

# Numbers, beside so many for each that the file holds, and products of numbers; and into how many parts values are cut.
MOST_CONSTANT, FOR_EACH = 1 << 20, 4
MOST_PRODUCTS = 1 << 28
MOST_PARTS = 1 << 14


class Budget:
    """What is left of it, for a file that holds arrays of these sizes."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self.numbers = MOST_CONSTANT + FOR_EACH * sum(sizes)
        self.products, self.left = MOST_PRODUCTS, MOST_PARTS

    def held(self, count: int) -> None:
        """Notes that a node holds so many numbers itself."""
        self.numbers += FOR_EACH * count

    def limit(self, *shape: int, products: int = 0) -> None:
        """Spends so many known numbers, and products of them; SpecError where these are more than the file is worth."""
        count = math.prod(shape)
        self.numbers -= count
        self.products -= count * products
        if self.numbers < 0 or self.products < 0:
            told = f"it would make {shape} numbers before the model runs"
            raise SpecError(f"{told}; with those before it, that is more than is made of a file of this size")

    def parts(self, count: int) -> None:
        """Spends parts that a value is cut into, or put together of; SpecError where they are too many."""
        self.left -= count
        if self.left < 0:
            raise SpecError(f"it would cut its input into {count} parts; at most {MOST_PARTS} are made of all values")
