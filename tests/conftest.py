"""For all tests."""

from __future__ import annotations

import pytest

# Their asserts are to say as much as those of the tests that take them over.
pytest.register_assert_rewrite("tests.on_slurm.bodies", "tests.on_slurm.rig")
