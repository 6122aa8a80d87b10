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
from lstmcore.interop.proof.engines import Observed
from lstmcore.interop.proof.mistakes import MISTAKES, TOGETHER, Edit, Mistake, Senseless
from lstmcore.interop.proof.subject import Part, Subject, Values
from lstmcore.program import Node, Value, interpret

Array = NDArray[Any]
MOST_PAIRS = 4000
MOST_NUMBERS = 1 << 22  # of weights in a layer: beyond it, pairs of mistakes are not tried
MOST_RUNS = 200_000  # of nodes, in all that is tried
TOLD = 3


@dataclass
class Scene:
    """The right model, the cases' values in it, what an engine made of them, and how far off is right.

    ``left`` is how many nodes may still be run.
    """

    subject: Subject
    weights: Mapping[str, Array]
    right: Sequence[Values]
    seen: Observed
    limit: float
    left: int = MOST_RUNS


@dataclass(frozen=True)
class Watch:
    """The values that tell: ``inner``: they are looked for among what the engine shows, else they leave the model."""

    values: tuple[str, ...]
    inner: bool


def diagnose(scene: Scene, part: Part | None, tried: Sequence[Part]) -> tuple[str, ...]:
    """What makes the right model give the wrong numbers, in words; nothing where no known mistake does.

    ``part`` is the first layer that diverges, if that is known; else each of ``tried`` is suspected.
    """
    with np.errstate(all="ignore"):
        found = _anywhere(scene, tried) if part is None else _here(scene, part, tried)
    return tuple(f"matches if {words}" for words in dict.fromkeys(found[:TOLD]))


def _here(scene: Scene, part: Part, tried: Sequence[Part]) -> list[str]:
    """Mistakes at a layer, then pairs of them, then mistakes in what the layer is given."""
    watch = Watch(part.values, True) if scene.seen.inner else _leaving(scene)
    found = _explains(scene, part, watch) or list(itertools.islice(_pairs(scene, part, watch), 1))
    if found:
        return found
    read = {name for node in part.nodes for name in node.inputs}
    feeders = [other for other in tried if other is not part and read & set(other.values)]
    return [f"in {other.name}, {words}" for other in feeders for words in _explains(scene, other, watch)]


def _anywhere(scene: Scene, tried: Sequence[Part]) -> list[str]:
    """Mistakes at each layer in turn, then the same mistake in every layer that it befalls."""
    watch = _leaving(scene)
    for part in tried:
        if words := _explains(scene, part, watch):
            return [f"in {part.name}, {text}" for text in words]
    whole = Edit(scene.subject.program.nodes, {})
    found = []
    for mistake in MISTAKES:
        sites = _sites(mistake, whole, scene)
        edits = _made(mistake, whole, sites, scene) if len(sites) > 1 else []
        if edits and _agree(scene, edits, watch):
            found.append(f"everywhere {mistake.words}")
    return found


def _leaving(scene: Scene) -> Watch:
    values = scene.subject.program.values
    return Watch(tuple(name for name in scene.subject.leaving if values[name].kind == "float"), False)


def _explains(scene: Scene, part: Part, watch: Watch) -> list[str]:
    """The mistakes at a layer that give what was seen."""
    singles = _singles(Edit(part.nodes, {}), scene)
    return [words for words, edits in singles if _agree(scene, edits, watch)]


def _singles(start: Edit, scene: Scene) -> Iterator[tuple[str, list[Edit]]]:
    """Every mistake that can be made at a layer, as (words, the wrong layer of each case)."""
    for mistake in MISTAKES:
        sites = _sites(mistake, start, scene)
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


def _sites(mistake: Mistake, start: Edit, scene: Scene) -> list[str]:
    """The nodes at which a mistake can be made."""
    befallen = [node.name for node in start.nodes if isinstance(node.op, mistake.befalls)]
    return [name for name in befallen if _made(mistake, start, [name], scene)]


def _made(mistake: Mistake, start: Edit | Sequence[Edit], sites: Sequence[str], scene: Scene) -> list[Edit]:
    """The layer with a mistake made at nodes, for each case; empty where it makes no sense."""
    found = []
    starts = [start] * len(scene.right) if isinstance(start, Edit) else start
    for values, edit in zip(scene.right, starts, strict=True):
        try:
            for site in sites:
                edit = mistake.apply(edit, site, scene.weights, values)
        except Senseless:
            return []
        except Exception:  # an op may refuse the options of a mistake
            return []
        found.append(edit)
    return found


def _pairs(scene: Scene, part: Part, watch: Watch) -> Iterator[str]:
    """Two mistakes at once, of different aspects."""
    if sum(scene.weights[path].size for node in part.nodes for path in node.weights.values()) > MOST_NUMBERS:
        return
    start = Edit(part.nodes, {})
    rows = [(mistake, sites) for mistake in MISTAKES if (sites := _sites(mistake, start, scene))]
    pairs = ((a, b) for a, b in itertools.combinations(rows, 2) if a[0].aspect != b[0].aspect)
    for (first, sites), (second, others) in itertools.islice(pairs, MOST_PAIRS):
        halfway = _made(first, start, sites, scene)
        edits = _made(second, halfway, others, scene) if halfway else []
        if edits and _agree(scene, edits, watch):
            yield f"{first.words} and {second.words}"


def _agree(scene: Scene, edits: Sequence[Edit], watch: Watch) -> bool:
    """Whether every case comes out as it was seen."""
    return all(_agrees(scene, edit, watch, case) for case, edit in enumerate(edits))


def _agrees(scene: Scene, edit: Edit, watch: Watch, case: int) -> bool:
    right = scene.right[case]
    names = {node.name.rstrip("~") for node in edit.nodes}
    rest = _between(scene.subject.program.nodes, names, watch.values)
    scene.left -= len(edit.nodes) + len(rest)
    if scene.left < 0:
        return False
    try:
        made = evaluate(scene, edit, right)
        made |= evaluate(scene, Edit(rest, {}), {**right, **made}) if rest else {}
    except Exception:  # a mistake may make no sense with these shapes
        return False
    if not any(name in made for name in watch.values):
        return False
    found = [made.get(name, right[name]) for name in watch.values]
    if watch.inner:
        return all(nearest(scene.seen.inner[case : case + 1], [y], scene.limit) is not None for y in found)
    wrong = scene.seen.leaving[case]
    return all(distance(wrong[name], y) <= scene.limit for name, y in zip(watch.values, found, strict=True))


def _between(nodes: Sequence[Node], names: set[str], wanted: Sequence[str]) -> tuple[Node, ...]:
    """What depends on the nodes of these names, but they themselves, and is needed for the values wanted."""
    moved = {output for node in nodes if node.name in names for output in node.outputs}
    found = []
    for node in nodes:
        if node.name not in names and moved & set(node.inputs):
            moved |= set(node.outputs)
            found.append(node)
    needed, kept = set(wanted), []
    for node in reversed(found):
        if needed & set(node.outputs):
            needed |= {name for name in node.inputs if name is not None}
            kept.append(node)
    return tuple(reversed(kept))


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
