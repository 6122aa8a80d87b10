"""What acts in training only: the noise of a program, as modules that PyTorch switches off with ``eval()``."""

from __future__ import annotations

from lstmcore.errors import ExportError
from lstmcore.interop.pytorch.scope import Expr, Site
from lstmcore.interop.pytorch.text import number
from lstmcore.program import Noise


def written(site: Site) -> tuple[str | None] | None:
    """A product or sum with noise, as a module's call, or nothing yet; None where there is no noise."""
    noises = {noise.name: noise for noise in site.scope.program.noise}
    factors = site.scope.factors
    first, second = site.there(0), site.there(1)
    function = site.op.function
    if not {first, second} & {*noises, *factors}:
        return None
    if function == "add" and first in noises and site.literal(1) == 1:
        (value,) = site.node.outputs
        factors[value] = noises[first]
        site.scope.known[value] = Expr("1.0", literal=1.0)
        return (None,)
    if function == "multiply" and second in factors:
        return (_called(site, "GaussianDropout", factors[second].rate),)
    if function == "add" and second in noises and noises[second].kind == "normal":
        return (_called(site, "GaussianNoise", noises[second].rate),)
    if function == "multiply" and second in noises and noises[second].kind == "dropout":
        return (_dropout(site, noises[second]),)
    raise ExportError(f"{site.node.name!r} uses random numbers in a way that PyTorch's modules do not")


def _called(site: Site, helper: str, *options: object) -> str:
    shown = ", ".join(number(option) if isinstance(option, float) else repr(option) for option in options)
    return f"{_module(site, f'{site.file.helper(helper)}({shown})')}({site.text()})"


def _dropout(site: Site, noise: Noise) -> str:
    shape, like = site.scope.program.values[noise.name].shape, site.tensor().shape
    axes = tuple(axis for axis, (n, m) in enumerate(zip(shape, like, strict=True)) if n == 1 and m != 1)
    if axes:
        return _called(site, "SharedDropout", float(noise.rate), axes)
    return f"{_module(site, f'nn.Dropout({number(noise.rate)})')}({site.text()})"


def _module(site: Site, maker: str) -> str:
    home, _, own = site.node.name.rpartition("/")
    alone = home and own.startswith(("dropout", "noisy")) and not site.scope.has_weights(home)
    return "self." + site.scope.layers.add(home if alone else site.node.name, maker)
