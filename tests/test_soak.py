"""Kills, races, full disks, edits and damage at random moments lose nothing."""

import importlib.util
import os
from pathlib import Path

import pytest

MINUTES = 0.5


@pytest.mark.skipif(os.name == "nt", reason="needs fork and signals")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_half_a_minute_of_trouble_loses_nothing():
    path = Path(__file__).parents[1] / "benchmarks" / "soak.py"
    spec = importlib.util.spec_from_file_location("soak", path)
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    rows = soak.soak(MINUTES, seed=os.getpid())
    assert all(row["tried"] and not row["lost"] for row in rows.values()), rows
