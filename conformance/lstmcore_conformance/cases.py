"""The cases: families of settings in ``families/*.json``, expanded to rows with stable, readable ids.

A family says what is built (one of `SUBJECTS`), at which ``level``, how it is checked (``check``), who judges
(``oracle``), and what varies: ``axes``, crossed in full or, with ``"cover": "pairs"``, so that every pair of
values occurs; ``cross``, with which all that is crossed once more; ``rows``, spelled out; ``fixed``, for all. A
setting is one of `SETTINGS`, or else an option of what is built, or a further argument of its call. Layers in options
are written ``["LSTMCell", {"units": 3}]``. Ids read ``family/settings that matter/dtype``; renaming one orphans its
xfails and goldens, and gives it other numbers.

With ``of``, a family has the cases of other families, at its own level, judged by the reference: all of them, or those
whose settings and options have one of the values in ``where``. Their ids are those of the others behind its name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from lstmcore.runtime.compare import LIMIT

PROFILES = ("smoke", "standard")
LEVELS = ("forward", "gradient", "training")
SUBJECTS = ("layer", "op", "model", "graph", "paper", "loss", "optimizer")

# The check of a family that names none.
USUAL_CHECK: Mapping[str, str] = MappingProxyType({"forward": "values", "gradient": "gradient", "training": "fit"})
# E may be this at most. Gradients: 1e-5 of the largest in float32, and as many units of the last place in float64.
LIMITS: Mapping[str, float] = MappingProxyType({"forward": LIMIT, "gradient": 84.0, "training": LIMIT})

# What every case has: batch, time, features, units, and how it is run. I, B, H and T differ.
SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "dtype": "float32",
        "B": 3,
        "T": 5,
        "I": 2,
        "H": 4,
        "time": "fixed",  # or "open": the program takes any number of steps
        "mask": None,  # a pattern of `data.MASKS`
        "states": None,  # "given" as inputs, "carried" over from a call before; None: zeros
        "values": "plain",  # a range of `data.VALUES`
        "shape": None,  # of the input without batch, where T and I do not say it
        "kind": "float",
        "inputs": None,  # where there are several: the shape of each; what else an entry may be: `subjects.entry`
        "masks": None,  # where there are several inputs: the pattern for each
        "previous": False,  # the output before the first step is given
        "mask_out": False,  # the masks that go on are outputs too
        "training": False,  # lowered as a training step has it, with noise
        "limit": None,  # of E, where it is not that of the level
    }
)


@dataclass(frozen=True)
class Case:
    """One row: ``settings`` has an entry for each of `SETTINGS`, ``options`` are those of what is built."""

    id: str
    family: str
    subject: tuple[str, Any]
    level: str
    check: str
    oracle: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def dtype(self) -> str:
        return str(self.settings["dtype"])

    @property
    def limit(self) -> float:
        """The largest E with which it passes."""
        own = self.settings["limit"]
        return LIMITS[self.level] if own is None else float(own)

    @property
    def key(self) -> str:
        """The id without the dtype: cases of one key share data and goldens."""
        return self.id.rpartition("/")[0]


def load(profile: str = "standard") -> tuple[Case, ...]:
    """The cases of a profile, those that find most first; ``standard`` begins with all of ``smoke``."""
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
    wanted = PROFILES[: PROFILES.index(profile) + 1]
    return tuple(
        case for name in wanted for family in families() if family["profile"] == name for case in _read(family)
    )


@lru_cache(maxsize=1)
def families() -> tuple[dict[str, Any], ...]:
    """The families of all files, in the order of the files' names. ValueError for a name used twice."""
    found: list[dict[str, Any]] = []
    for file in sorted(resources.files(__package__).joinpath("families").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".json"):
            found += json.loads(file.read_text("utf-8"))
    names = [family["name"] for family in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"families defined twice: {', '.join(sorted(twice))}")
    return tuple(found)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, dict[str, Any]]:
    return {family["name"]: family for family in families()}


def _read(family: Mapping[str, Any]) -> tuple[Case, ...]:
    made = tuple(_again(family) if "of" in family else (_case(family, settings) for settings in _expand(family)))
    seen: set[str] = set()
    for case in made:
        if case.id in seen:
            raise ValueError(f"two cases are called {case.id!r}")
        seen.add(case.id)
    return made


def _again(family: Mapping[str, Any]) -> Iterator[Case]:
    """The cases of other families that fit."""
    level, wanted = family["level"], family.get("where", {}).items()
    for name in family["of"]:
        for case in _read(_by_name()[name]):
            known = {**case.settings, **case.options}
            if all(known.get(key) in values for key, values in wanted):
                yield replace(
                    case,
                    id=f"{family['name']}/{case.id}",
                    family=family["name"],
                    level=level,
                    check=family.get("check", USUAL_CHECK[level]),
                    oracle=family.get("oracle", "reference"),
                )


def _expand(family: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    axes = {**family.get("axes", {})}
    cover = pairs if family.get("cover") == "pairs" else full
    for row in family.get("rows", [{}]):
        free = {name: values for name, values in axes.items() if name not in row}
        for combination in cover(free):
            for crossed in full(family.get("cross", {})):
                yield {**family.get("fixed", {}), **row, **combination, **crossed}


def _case(family: Mapping[str, Any], given: Mapping[str, Any]) -> Case:
    what = next(key for key in SUBJECTS if key in family or key in given)
    settings = {**SETTINGS, **{k: v for k, v in given.items() if k in SETTINGS}}
    options = {k: v for k, v in given.items() if k not in SETTINGS and k not in (what, "name", "check", "case")}
    fixed, level = family.get("fixed", {}), family.get("level", "forward")
    varying = {k: v for k, v in given.items() if k not in fixed}
    return Case(
        id="/".join((family["name"], _words(varying), settings["dtype"])),
        family=family["name"],
        subject=(what, given.get(what, family.get(what))),
        level=level,
        check=given.get("check", family.get("check", USUAL_CHECK[level])),
        oracle=family.get("oracle", "reference"),
        settings=MappingProxyType(settings),
        options=MappingProxyType(options),
    )


def _function(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ",".join([value["name"], *(f"{k}={v}" for k, v in value.items() if k != "name")])


def _layers(value: Any) -> str:
    """Layers and their options: lstmcell,units=3; several joined by +."""
    if isinstance(value, list) and value and isinstance(value[0], str):
        return value[0].lower() + "".join(f",{k}={_layers(v)}" for k, v in value[1].items())
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "+".join(map(_layers, value))
    return value.lower() if isinstance(value, str) else _compact(value)


def _named(value: Any) -> str:
    """A loss, an optimizer, a schedule: its name, or that of a config with its options; several joined by +."""
    if isinstance(value, list) and value and isinstance(value[0], (str, Mapping)):
        return "+".join(map(_named, value))
    if not isinstance(value, Mapping):
        return _compact(value)
    return ",".join([value["class_name"], *(f"{k}={_named(v)}" for k, v in value["config"].items())])


def _shapes(value: Any) -> str:
    """Shapes as 5x4,5x1; a number of no axes is "one"."""
    if isinstance(value, Mapping):
        words = [str(word) for key, word in value.items() if key not in ("shape", "weight") and word is not True]
        marks = [key for key, word in value.items() if word is True or key == "weight"]
        return ".".join([*words, *marks, _shapes([value.get("shape", value.get("weight"))])])
    if value is None:
        return "none"
    return ",".join("x".join(map(str, one)) or "one" if isinstance(one, list) else _shapes(one) for one in value)


def _flag(word: str, when: bool = True) -> Callable[[Any], str]:
    return lambda value: word if value is when else ""


# How a setting is spelled in an id; "" leaves it out. Others are spelled name=value.
WORDS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "name": str,
        "case": str,
        "check": str,
        "paper": str,
        "layer": lambda value: value.lower(),
        "op": str,
        "loss": _named,
        "optimizer": _named,
        "graph": str,
        "cell": _layers,
        "wraps": _layers,
        "backward_layer": lambda value: f"other={_layers(value)}" if value else "",
        "inputs": _shapes,
        "activation": _function,
        "function": _function,
        "recurrent_activation": lambda value: f"by={_function(value)}",
        "use_bias": _flag("nobias", False),
        "reset_after": _flag("before", False),
        "return_sequences": _flag("seq"),
        "return_state": _flag("state"),
        "go_backwards": _flag("back"),
        "zero_output_for_mask": _flag("zeroed"),
        "unroll": _flag("unroll"),
        "mask_zero": _flag("mask_zero"),
        "mask": lambda value: f"mask={value}" if value else "",
        "masks": lambda value: f"masks={','.join(word or 'no' for word in value)}" if value else "",
        "previous": _flag("previous"),
        "mask_out": lambda value: "",
        "training": _flag("training"),
        "limit": lambda value: "",
        "states": lambda value: value or "",
        "time": lambda value: value if value == "open" else "",
        "dtype": lambda value: "",
        "model": lambda value: "",
        **{size: (lambda value, size=size: f"{size}{value}") for size in "TBHI"},
    }
)


def _words(settings: Mapping[str, Any]) -> str:
    ordered = [*(key for key in WORDS if key in settings), *(key for key in settings if key not in WORDS)]
    words = [WORDS[key](settings[key]) if key in WORDS else f"{key}={_compact(settings[key])}" for key in ordered]
    return "-".join(word for word in words if word) or "default"


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


Axes = Mapping[str, Sequence[Any]]


def full(axes: Axes) -> Iterator[dict[str, Any]]:
    """Every combination, the last axis fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def pairs(axes: Axes) -> Iterator[dict[str, Any]]:
    """Few combinations in which every pair of values of every two axes occurs; greedy, always the same."""
    names = list(axes)
    sizes = [len(axes[name]) for name in names]
    missing = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(names)), 2)
        for i in range(sizes[a])
        for j in range(sizes[b])
    }
    waiting = dict.fromkeys(sorted(missing))
    while waiting:
        a, i, b, j = next(iter(waiting))
        row = {a: i, b: j}
        for k in range(len(names)):
            if k not in row:
                row[k] = max(
                    range(sizes[k]), key=lambda v, k=k: (_gain(row, k, v, waiting), -((v + len(waiting)) % sizes[k]))
                )
        for pair in [(p, row[p], q, row[q]) for p, q in itertools.combinations(range(len(names)), 2)]:
            waiting.pop(pair, None)
        yield {name: axes[name][row[k]] for k, name in enumerate(names)}


def _gain(row: Mapping[int, int], k: int, v: int, waiting: Mapping[tuple[int, int, int, int], None]) -> int:
    """How many pairs not yet seen setting axis ``k`` to value ``v`` adds."""
    return sum(((o, w, k, v) if o < k else (k, v, o, w)) in waiting for o, w in row.items())
