"""Kills, races, full disks, edits and damage at random moments lose nothing."""

import importlib.util
import os
from pathlib import Path

import pytest

ROUNDS = 64  # eight of each kind


@pytest.mark.skipif(os.name == "nt", reason="needs fork and signals")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_some_rounds_of_every_kind_of_trouble_lose_nothing():
    path = Path(__file__).parents[1] / "benchmarks" / "soak.py"
    spec = importlib.util.spec_from_file_location("soak", path)
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    rows = soak.soak(range(ROUNDS), seed=0)
    assert all(row["tried"] == 8 and not row["lost"] for row in rows.values()), rows
