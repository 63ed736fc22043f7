"""Options of every command that reads a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xray_tf.options.declare import Checked, option, share
from xray_tf.registry import SOURCES

PARTS = ("all", "train", "val", "test")


@dataclass(frozen=True)
class DataOptions(Checked):
    """Data: how radiographs are found, divided and cached."""

    headings: ClassVar = {
        "source": "Data: how radiographs are found, named and cached",
        "split_by": "Split: which radiographs train, validate and test",
    }

    source: str = option(
        "auto", "how to read --data; auto decides by looking at it", ("auto", *SOURCES)
    )
    classes: str | None = option(
        None,
        "what folders and labels are called (healthy=normal,sick=pneumonia), or the classes of a "
        "task of your own (a,b,c)",
        metavar="LIST",
    )
    patient_key: str = option(
        "namespaced",
        "whether person1 among bacterial and person1 among viral file names are two children "
        "(namespaced) or one (bare)",
        ("namespaced", "bare"),
    )
    groups: str | None = option(
        None,
        "records.csv of xray-tf audit --acquisitions; figures are then given by acquisition group "
        "too",
        metavar="FILE",
    )
    strict: bool = option(False, "stop at the first unusable file instead of reporting it")
    cache: str | None = option(
        None, "where to keep decoded pixels (default: the user's cache folder)", metavar="DIR"
    )
    attribution: str | None = option(
        None,
        "owner and licence of the radiographs, for the model card; not needed for known data sets",
        metavar="TEXT",
    )
    split_by: str = option(
        "patient",
        "what is kept on one side of a split; image only for data without patient keys, and every "
        "report then warns about it",
        ("patient", "image"),
    )
    split: str | None = option(
        None, "a split.csv of an earlier run; use the same split again", metavar="FILE"
    )
    validation: float = share(0.20, "share of the non-test radiographs for validation")
    test: float = share(
        0.15, "share of the radiographs for testing, if the data has no test part of its own"
    )
