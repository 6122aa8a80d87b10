"""ONNX files: models written (`write`), read (`read`) and checked (`verify`).

Writing goes op by op, by the table in `writers`; reading node by node, by the table in `readers`. Both need the
package onnx, an extra: ``pip install 'lstmcore[onnx]'``.
"""

from lstmcore.interop.onnx.read import read
from lstmcore.interop.onnx.verify import verify
from lstmcore.interop.onnx.write import write
from lstmcore.interop.vectors import Verification

__all__ = ["Verification", "read", "verify", "write"]
