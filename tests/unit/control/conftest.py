"""Let the addon's core be imported as the package `core`, without Odoo and without the addon's other folders."""

import importlib.util
import sys
from pathlib import Path

CORE = Path(__file__).resolve().parents[3] / "addons/odooops_control/core"
SPEC = importlib.util.spec_from_file_location("core", CORE / "__init__.py", submodule_search_locations=[str(CORE)])
sys.modules["core"] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sys.modules["core"])
