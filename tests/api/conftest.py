"""Lets these tests import the shared fakes beside the rooms' folders."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
