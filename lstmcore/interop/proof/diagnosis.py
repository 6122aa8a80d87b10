"""What a wrong result looks like: the known mistakes, made on the right model, until one gives the wrong numbers.

A mistake is first made at the first layer that diverges, and compared with what the engine shows of it. Where an
engine shows only what leaves the model, each layer is tried, and what leaves is compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmcore import plugins
from lstmcore.contract import choose
from lstmcore.interop.proof.alike import distance, nearest
from lstmcore.interop.proof.engines import Given, Observed
from lstmcore.interop.proof.mistakes import MISTAKES, TOGETHER, Edit, Mistake, Senseless
from lstmcore.interop.proof.subject import Part, Subject, Values
from lstmcore.program import Node, Value, interpret

Array = NDArray[Any]
MOST_PAIRS = 4000
MOST_NUMBERS = 1 << 22  # of weights in a layer: beyond it, pairs of mistakes are not tried
PAIRED = 2
TOLD = 3


@dataclass(frozen=True)
class Scene:
    """The right model, the cases' values in it, what an engine made of them, and how far off is right."""

    subject: Subject
    weights: Mapping[str, Array]
    right: Sequence[Values]
    seen: Observed
    limit: float

    def at(self, case: int) -> Scene:
        """With one case."""
        inner = self.seen.inner[case : case + 1]
        seen = replace(self.seen, leaving=self.seen.leaving[case : case + 1], inner=inner)
        return replace(self, right=self.right[case : case + 1], seen=seen)


def diagnose(scene: Scene, part: Part | None, tried: Sequence[Part]) -> tuple[str, ...]:
    """What makes the right model give the wrong numbers, in words; nothing where no known mistake does.

    ``part`` is the first layer that diverges, if that is known; else each of ``tried`` is suspected.
    """
    found: list[str] = []
    with np.errstate(all="ignore"):
        for suspect in (part,) if part else tried:
            shown = part is not None and bool(scene.seen.inner)
            found += _explains(scene, suspect, shown, "" if part else f"in {suspect.name}, ")
            if found:
                break
        if not found and part is None:
            found += _everywhere(scene)
    return tuple(f"matches if {words}" for words in dict.fromkeys(found[:TOLD]))


def _explains(scene: Scene, part: Part, shown: bool, where: str) -> list[str]:
    """The mistakes at a layer that give what was seen, of it or, where it is not shown, of what leaves the model."""
    quick = scene.at(0)
    start = Edit(part.nodes, {})
    singles = list(_singles(start, scene))
    found = [words for words, edits in singles if _agrees(quick, edits[0], part, shown)]
    found = [words for words in found if _holds(scene, part, shown, next(e for w, e in singles if w == words))]
    if found:
        return [where + words for words in found]
    size = sum(scene.weights[path].size for node in part.nodes for path in node.weights.values())
    if size > MOST_NUMBERS or (where and len(part.nodes) > PAIRED):
        return []
    return [where + words for words in itertools.islice(_pairs(scene, start, part, shown), 1)]


def _holds(scene: Scene, part: Part, shown: bool, edits: Sequence[Edit]) -> bool:
    """Whether it also explains the other cases."""
    return all(_agrees(scene.at(k), edits[k], part, shown) for k in range(1, len(scene.right)))


def _singles(start: Edit, scene: Scene) -> Iterator[tuple[str, list[Edit]]]:
    """Every mistake that can be made at a layer, as (words, the wrong layer of each case)."""
    for mistake in MISTAKES:
        sites = [node.name for node in start.nodes if isinstance(node.op, mistake.befalls)]
        choices = [sites] if len(sites) == 1 else [sites, *([site] for site in sites)] if sites else []
        for chosen in choices:
            edits = _made(mistake, start, chosen, scene)
            if edits:
                only = len(sites) > 1 and len(chosen) == 1
                yield mistake.words + (f", in {chosen[0].rpartition('/')[2]} alone" if only else ""), edits
    for words, change in TOGETHER:
        try:
            yield words, [change(start, scene.weights)] * len(scene.right)
        except Senseless:
            continue


def _made(mistake: Mistake, start: Edit, sites: Sequence[str], scene: Scene) -> list[Edit]:
    """The layer with a mistake made at nodes, for each case; empty where it makes no sense."""
    found = []
    for values in scene.right:
        edit = start
        try:
            for site in sites:
                edit = mistake.apply(edit, site, scene.weights, values)
        except Senseless:
            return []
        except Exception:  # an op may refuse the options of a mistake
            return []
        found.append(edit)
    return found


def _pairs(scene: Scene, start: Edit, part: Part, shown: bool) -> Iterator[str]:
    """Two mistakes at once, of different aspects."""
    quick = scene.at(0)
    rows = [(mistake, [n.name for n in start.nodes if isinstance(n.op, mistake.befalls)]) for mistake in MISTAKES]
    rows = [(mistake, sites) for mistake, sites in rows if sites and _made(mistake, start, sites, quick)]
    pairs = ((a, b) for a, b in itertools.combinations(rows, 2) if a[0].aspect != b[0].aspect)
    for (first, sites), (second, others) in itertools.islice(pairs, MOST_PAIRS):
        halfway = _made(first, start, sites, scene)
        edits = [_made(second, edit, others, scene.at(k)) for k, edit in enumerate(halfway)]
        if not halfway or not all(edits):
            continue
        whole = [edit[0] for edit in edits]
        if _agrees(quick, whole[0], part, shown) and _holds(scene, part, shown, whole):
            yield f"{first.words} and {second.words}"


def _everywhere(scene: Scene) -> list[str]:
    """Mistakes made in every layer that they befall; what leaves the model is compared."""
    whole = Edit(scene.subject.program.nodes, {})
    found = []
    for mistake in MISTAKES:
        sites = []
        for node in whole.nodes:
            if isinstance(node.op, mistake.befalls) and _made(mistake, whole, [node.name], scene):
                sites.append(node.name)
        edits = _made(mistake, whole, sites, scene) if len(sites) > 1 else []
        if edits and all(_leaves(scene.at(k), edit, scene.at(k).right[0]) for k, edit in enumerate(edits)):
            found.append(f"everywhere {mistake.words}")
    return found


def _agrees(scene: Scene, edit: Edit, part: Part, shown: bool) -> bool:
    """Whether the first case comes out as it was seen."""
    try:
        made = evaluate(scene, edit, scene.right[0])
    except Exception:  # a mistake may make no sense with these shapes
        return False
    if shown:
        return all(_seen(scene.seen.inner[:1], part, value, made[value], scene.limit) for value in part.values)
    return _leaves(scene, edit, scene.right[0], made)


def _seen(inner: Given, part: Part, value: str, made: Array, limit: float) -> bool:
    return nearest(inner, [made], limit) is not None


def _leaves(scene: Scene, edit: Edit, known: Values, made: Values | None = None) -> bool:
    """Whether what leaves the model after the mistake is what left the engine."""
    try:
        if made is None:
            after = evaluate(scene, edit, known)
        else:
            names = {node.name.rstrip("~") for node in edit.nodes}
            rest = _after(scene.subject.program.nodes, names)
            after = {**made, **evaluate(scene, Edit(rest, edit.weights), {**known, **made})}
    except Exception:
        return False
    wrong = scene.seen.leaving[0]
    return all(
        distance(wrong[name], after.get(name, known[name])) <= scene.limit
        for name in scene.subject.leaving
        if scene.subject.program.values[name].kind == "float"
    )


def _after(nodes: Sequence[Node], names: set[str]) -> tuple[Node, ...]:
    """What depends on the nodes of these names, but they themselves."""
    moved = {output for node in nodes if node.name in names for output in node.outputs}
    found = []
    for node in nodes:
        if node.name not in names and moved & set(node.inputs):
            moved |= set(node.outputs)
            found.append(node)
    return tuple(found)


def evaluate(scene: Scene, edit: Edit, known: Mapping[str, Array]) -> Values:
    """The values that the nodes of an edit make, in float64."""
    program = scene.subject.program
    values = dict(program.values)
    for node in edit.nodes:
        for name in (*node.outputs, *node.inputs):
            if name is not None and name not in values:
                like = (
                    values[name.partition("~")[0]]
                    if name.partition("~")[0] in values
                    else Value((None,), "float", name)
                )
                values[name] = replace(like, name=name)
    made = tuple(output for node in edit.nodes for output in node.outputs)
    small = replace(program, nodes=edit.nodes, values=values, outputs=made, carries=())
    engine = plugins.get(plugins.reference())
    runs = [choice.run for choice in choose(engine, small, "float64")]
    paths = {path for node in edit.nodes for path in node.weights.values()}
    weights = {path: edit.weights.get(path, scene.weights[path]) for path in paths}
    found, _ = interpret(small, runs, weights, {**known, **edit.values})
    return found
