"""The proof that a model arrived in another file: numbers layer by layer, and what a wrong one looks like.

::

    from lstmcore.interop.proof import prove

    lc.export_model(model, "model.onnx")
    proof = prove(model, "model.onnx")
    print(proof)
    assert proof.ok
"""

from lstmcore.interop.proof.proof import compare_models, made_up, prove
from lstmcore.interop.proof.report import Proof

__all__ = ["Proof", "compare_models", "made_up", "prove"]
