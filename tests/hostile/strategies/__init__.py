from collections.abc import Callable
from typing import Any
FORMATS: dict[str, Callable[[bytes], Any]] = {}
def each(*a: Any) -> None: ...
