"""Makes the modules beside the tests importable, and those that make files of other programs by hand."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop"), str(HERE.parent / "interop" / "pytorch")]
