"""Where the fixtures lie, and where the embedded models do."""

import os
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FIXTURES = HERE / "fixtures"
MODELS = Path(os.environ.get("PORTRAIT_HOME") or "~/.portrait").expanduser() / "models"
PLACE = "FIXTURES"
"""Stands in the fixtures for the folder that they lie in."""
