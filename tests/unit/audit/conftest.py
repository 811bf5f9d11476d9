"""The developer's command, as the checkout has it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "scripts/ci"))
