"""The layers of a model that came as a graph, for files that hold layers alone.

::

    from lstmcore.interop.layered import layered

    model = lc.import_model("model.onnx")  # written by another program: a ProgramModel
    lc.export_model(layered(model), "model.keras")  # as export_model does by itself
"""

from lstmcore.interop.layered.graph import layered

__all__ = ["layered"]
