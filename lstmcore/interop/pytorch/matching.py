"""Which module of a state_dict is which layer of a model: by names, by what alone fits, by order, or as a map says.

All shapes are compared before a number is read. Nothing is guessed: where several modules could be a layer and neither
names nor order tell, the match is refused, and the error says how to tell it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lstmcore.errors import WeightsMismatchError, near
from lstmcore.interop.pytorch.states import State
from lstmcore.interop.pytorch.targets import Fill, Target, find_targets, single
from lstmcore.interop.pytorch.units import Found, Unit, describe, find_units
from lstmcore.layers.module import Module
from lstmcore.storage.container import show

_MOST = 20
Map = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """A layer, the module that it takes its weights from, and how that was told."""

    path: str
    label: str
    how: str


@dataclass
class Match:
    """What goes where; complete once `match` returned it. ``print`` shows it."""

    name: str
    pairs: list[Pair] = field(default_factory=list)
    fills: list[tuple[Fill, tuple[str, ...]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max((len(pair.path) for pair in self.pairs), default=0)
        lines = [f"{pair.path or '(model)':<{width}}  <- {pair.label or '(top)'}  ({pair.how})" for pair in self.pairs]
        return "\n".join([f"{self.name}:", *lines, *self.notes])


def match(model: Module, state: State, map: Map | None = None, ignore: Sequence[str] = ()) -> Match:
    """Finds a module for every layer of the model, and a layer for every module.

    Raises WeightsMismatchError, with what is on both sides, where that cannot be done in one way only.
    """
    return _Matcher(model, state).run(dict(map or {}), [ignore] if isinstance(ignore, str) else list(ignore))


class _Matcher:
    def __init__(self, model: Module, state: State) -> None:
        self.model, self.state = model, state
        self.found: Found = find_units(state.tensors)
        self.targets = find_targets(model)
        self.units = list(self.found.units)
        self.loose = list(self.found.loose)
        self.made = Match(state.name)

    def run(self, map: dict[str, Any], ignore: list[str]) -> Match:
        self._ignore(ignore)
        targets = self._mapped(map)
        if targets or not map:
            self._together(targets, list(self.units), "")
        self._leave(complete=bool(map) and not targets)
        self._tell()
        return self.made

    # Entries of a map.

    def _ignore(self, prefixes: list[str]) -> None:
        for prefix in prefixes:
            gone = [unit for unit in self.units if _under(unit.module, prefix) or unit.label == prefix]
            loose = [name for name in self.loose if _under(name, prefix)]
            if not gone and not loose:
                raise self.error(f"ignore names {show(prefix)}, of which there is nothing in the file")
            self.units = [unit for unit in self.units if unit not in gone]
            self.loose = [name for name in self.loose if name not in loose]
            self.made.left += [unit.label for unit in gone] + loose

    def _mapped(self, map: dict[str, Any]) -> list[Target]:
        """Follows the map; the layers that it does not name."""
        by_value: dict[str, list[str]] = {}
        weights = self._weight_owners()
        single_weights = {}
        for path, value in map.items():
            if path in weights:
                single_weights[path] = value
            elif isinstance(value, str):
                by_value.setdefault(value, []).append(path)
            else:
                raise self.error(f"map says {show(path)}: {show(value)}; expected the name of a module")
        done: list[Target] = []
        for value, paths in by_value.items():
            chosen = self._named_targets(paths)
            self._together(chosen, self._named_units(value, chosen), f"as the map says, {show(value)}", mapped=True)
            done += chosen
        done += self._mapped_weights(single_weights, weights)
        covered = {id(owner) for target in done for owner in target.layer.modules()}
        return [t for t in self.targets if not all(id(owner) in covered for _, owner, _ in t.layer.owners())]

    def _weight_owners(self) -> dict[str, tuple[Module, str]]:
        return {path: (owner, weight) for path, owner, weight in self.model.owners()}

    def _named_targets(self, paths: Iterable[str]) -> list[Target]:
        """The layers at or below these paths, in the model's order."""
        halves = [
            Target(f"{t.path}/{side}", part) for t in self.targets for side, part in t.layer.parts.items() if side
        ]
        chosen = []
        for path in paths:
            found = [t for t in self.targets if t.path == path or t.path.startswith(f"{path}/") or path == ""]
            found = found or [t for t in halves if t.path == path]
            if not found:
                known = [t.path for t in self.targets] + list(self._weight_owners())
                raise self.error(f"map names {show(path)}, which is no layer with weights{near(path, known)}")
            chosen += found
        everything = [*self.targets, *halves]
        return sorted(chosen, key=lambda t: everything.index(t))

    def _named_units(self, value: str, targets: Sequence[Target]) -> list[Unit]:
        """The units that a name stands for, and which are not taken yet."""
        value = value.removesuffix(".")
        exact = [unit for unit in self.units if unit.label == value]
        found = exact or [unit for unit in self.units if _under(unit.module, value)]
        if not found:
            found = [half for unit in self.units if unit.both_ways for half in _halves(unit) if half.label == value]
        if not found:
            known = [unit.label for unit in self.found.units] + [unit.module for unit in self.found.units]
            raise self.error(f"map names the module {show(value)}, which the file does not have{near(value, known)}")
        both = all(target.kind == "Bidirectional" for target in targets)
        if exact and not both and found[0].both_ways:
            return [found[0].half(reverse=False)]
        return found

    def _mapped_weights(self, map: Map, weights: Mapping[str, tuple[Module, str]]) -> list[Target]:
        given: dict[int, set[str]] = {}
        for path, value in map.items():
            owner, weight = weights[path]
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise self.error(f"map says {show(path)}: {show(value)}; expected the name of a tensor, or of two")
            for name in names:
                if name not in self.state.tensors:
                    raise self.error(
                        f"map names the tensor {show(name)}, which is not there{near(name, self.state.tensors)}"
                    )
            fill = single(owner, weight, [self.state.tensors[name].shape for name in names])
            if isinstance(fill, str):
                raise self.error(f"map says {path}: {', '.join(names)}, but {fill}")
            self.made.fills.append((fill, tuple(names)))
            self.made.pairs.append(Pair(path, ", ".join(names), "as the map says"))
            given.setdefault(id(owner), set()).add(weight)
            self._drop(set(names))
        done = []
        for target in self.targets:
            owners = [(id(owner), weight) for _, owner, weight in target.layer.owners()]
            missing = [weight for owner, weight in owners if weight not in given.get(owner, ())]
            if missing and len(missing) < len(owners):
                raise self.error(f"map names some weights of {target.path}, and not {', '.join(missing)}")
            done += [] if missing else [target]
        return done

    def _drop(self, names: set[str]) -> None:
        """Tensors that are taken: the rest of their units is left over, by name."""
        self.loose = [name for name in self.loose if name not in names]
        for unit in [unit for unit in self.units if names & unit.names()]:
            self.units.remove(unit)
            self.loose += sorted(unit.names() - names - set(unit.beside))

    # Layers and modules.

    def _together(self, targets: list[Target], units: list[Unit], told: str, mapped: bool = False) -> None:
        """Brings layers and modules together, one to one."""
        plans = {(t, u): targets[t].plan(units[u]) for t in range(len(targets)) for u in range(len(units))}
        fitting = {t: [u for u in range(len(units)) if not isinstance(plans[t, u], str)] for t in range(len(targets))}
        pairs: dict[int, tuple[int, str]] = {}
        for group in _groups(fitting):
            candidates = sorted({u for t in group for u in fitting[t]})
            if len(candidates) != len(group):
                self._refuse(targets, units, plans, told)
            found = self._within(group, candidates, fitting, targets, units)
            if found is None:
                self._ambiguous([targets[t] for t in group], [units[u] for u in candidates])
            pairs |= found
        if len(pairs) != len(targets) or (mapped and len(pairs) != len(units)):
            self._refuse(targets, units, plans, told)
        for t, (u, how) in sorted(pairs.items()):
            self._take(targets[t], units[u], plans[t, u], told or how)

    def _within(
        self,
        group: list[int],
        candidates: list[int],
        fitting: Mapping[int, list[int]],
        targets: list[Target],
        units: list[Unit],
    ) -> dict[int, tuple[int, str]] | None:
        """Which of several modules is which of as many layers; None where nothing tells."""
        if len(group) == 1:
            return {group[0]: (candidates[0], "it alone fits")}
        by_name = {}
        for t in group:
            name = _plain_name(targets[t].path)
            named = [u for u in fitting[t] if name in (_plain_name(units[u].label), _plain_name(units[u].module))]
            by_name[t] = named[0] if len(named) == 1 else -1
        if sorted(by_name.values()) == candidates:
            return {t: (u, "by name") for t, u in by_name.items()}
        order = candidates if self.state.ordered else _numbered(candidates, units)
        if order is None or any(u not in fitting[t] for t, u in zip(group, order, strict=True)):
            return None
        return {t: (u, "by order") for t, u in zip(group, order, strict=True)}

    def _take(self, target: Target, unit: Unit, plan: list[Fill] | str, how: str) -> None:
        assert not isinstance(plan, str)
        self.made.pairs.append(Pair(target.path, unit.label, how))
        for fill in plan:
            self.made.fills.append((fill, tuple(unit.tensors[role] for role in fill.roles)))
        if unit in self.units:
            self.units.remove(unit)
            return
        whole = next(known for known in self.units if set(unit.tensors.values()) < known.names())
        self.units[self.units.index(whole)] = next(h for h in _halves(whole) if h.label != unit.label and h != unit)

    # What is left, and what is said.

    def _leave(self, complete: bool) -> None:
        """Modules without a layer: an error, unless a map named all layers, and so said which modules it wants."""
        self.made.left += [unit.label for unit in self.units] + self.loose
        if (self.units or self.loose) and not complete:
            self._refuse([], self.units, {}, "")

    def _tell(self) -> None:
        made, tensors = self.made, self.state.tensors
        if made.left:
            made.notes.append(f"left in the file: {', '.join(made.left[:_MOST])}")
        if self.state.key:
            made.notes.append(
                f"taken: {self.state.key}; beside it: {', '.join(self.state.beside[:_MOST]) or 'nothing'}"
            )
        if self.state.prefix:
            made.notes.append(f"before each name: {self.state.prefix}")
        rounded = sorted({tensors[name].dtype for _, names in made.fills for name in names} - {"float32", "float64"})
        if rounded:
            made.notes.append(f"numbers of {', '.join(rounded)}, which all fit")
        if any(target.kind == "BatchNormalization" for target in self.targets):
            made.notes.append("momentum and epsilon of BatchNormalization are not in a state_dict: they are the spec's")

    def _ambiguous(self, targets: list[Target], units: list[Unit]) -> NoReturn:
        layers, modules = (
            ", ".join(entries[:_MOST]) for entries in ([t.path for t in targets], [u.label for u in units])
        )
        raise self.error(
            f"each of the layers {layers} could be any of the modules {modules}: their names do not tell, and a "
            f".safetensors does not keep the order. Say it by map={_suggested(targets, units)}"
        )

    def _refuse(
        self, targets: Sequence[Target], units: Sequence[Unit], plans: Mapping[Any, Any], told: str
    ) -> NoReturn:
        """The error with both sides, and for each layer why the likeliest module does not fit."""
        lines = []
        for t, target in enumerate(targets):
            reasons = [(u, plans[t, u]) for u in range(len(units)) if isinstance(plans.get((t, u)), str)]
            if len(reasons) < len(units):
                continue
            weights = ", ".join(f"{name or 'weight'} {shape}" for name, shape in target.weights().items())
            told_why = [f"{units[u].label or '(top)'}: {why}" for u, why in reasons if not why.startswith("it is an")]
            why = f" ({'; '.join(told_why[:2])})" if told_why else ""
            lines.append(f"no module for {target.kind} {target.path or '(model)'}: {weights}{why}")
        taken = {u for u in range(len(units)) for t in range(len(targets)) if isinstance(plans.get((t, u)), list)}
        lines += [
            f"no layer for {units[u].label or '(top)'}: {describe(units[u])}"
            for u in range(len(units))
            if u not in taken
        ]
        lines += [f"no layer for the tensor {name}" for name in self.loose] if not told else []
        if not lines or len(targets) != len(units):
            lines.append(f"{len(targets)} layers with weights, {len(units)} modules" if targets else "")
        shown = [line for line in lines if line]
        more = f"\n  and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
        hint = self._hint(targets, units)
        raise self.error(
            f"it does not fit the model{f', {told}' if told else ''}:\n  " + "\n  ".join(shown[:_MOST]) + more + hint
        )

    def _hint(self, targets: Sequence[Target], units: Sequence[Unit]) -> str:
        if not targets:
            left = [unit.label for unit in units] + self.loose
            return f"\nTo leave it there: ignore={left[:_MOST]!r}" if left else ""
        return f"\nTo say which is which: map={_suggested(targets, units)}" if targets and units else ""

    def error(self, fault: str) -> WeightsMismatchError:
        """What does not fit, with the name of the file."""
        return WeightsMismatchError(f"{self.state.name}: {fault.removesuffix('.')}.")


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.") or prefix == ""


def _halves(unit: Unit) -> tuple[Unit, Unit]:
    return unit.half(reverse=False), unit.half(reverse=True)


def _groups(fitting: Mapping[int, list[int]]) -> list[list[int]]:
    """The layers in groups that compete for the same modules."""
    groups: list[tuple[list[int], set[int]]] = []
    for t, candidates in fitting.items():
        meet = [group for group in groups if group[1] & set(candidates)]
        merged = ([*(other for group in meet for other in group[0]), t], set(candidates).union(*(g[1] for g in meet)))
        groups = [group for group in groups if group not in meet] + [merged]
    return [sorted(members) for members, candidates in groups if candidates]


def _plain_name(name: str) -> str:
    """A name without what differs between paths and modules."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _numbered(candidates: Sequence[int], units: Sequence[Unit]) -> list[int] | None:
    """The modules by the numbers in their names, where their names differ in nothing else."""
    if len({re.sub(r"\d+", "#", units[u].label) for u in candidates}) > 1:
        return None
    return sorted(candidates, key=lambda u: [int(number) for number in re.findall(r"\d+", units[u].label)])


def _suggested(targets: Sequence[Target], units: Sequence[Unit]) -> str:
    pairs = dict(zip((t.path for t in targets), (u.label for u in units), strict=False))
    return repr(dict(list(pairs.items())[:_MOST]))
