"""What drives callbacks is a module beside the tests, which goldens/callbacks.py uses, too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
