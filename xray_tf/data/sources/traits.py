"""Group rows by what a manifest says of them beside label and patient: site, scanner, view, sex,
age or anything else.

Columns whose name says that they may identify people are never taken from a manifest. Of the
others, words group rows as they are, and numbers in bands; a column of many different words is left
out, since it names radiographs instead of grouping them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from xray_tf.data.kin import known_patient

MOST_GROUPS = 12
NOT_GIVEN = "not given"
# of children and of adults; the upper end of a band belongs to it
AGE_BANDS = (
    (1, "0 to 1 years"),
    (5, "2 to 5 years"),
    (12, "6 to 12 years"),
    (17, "13 to 17 years"),
    (39, "18 to 39 years"),
    (64, "40 to 64 years"),
    (np.inf, "65 years and older"),
)
_IDENTIFYING = frozenset(
    "id ids uid mrn pid nhs ssn accession birth birthday birthdate dob date datetime time address "
    "street phone email mail insurance postcode zip comment comments report text note notes file "
    "filename surname firstname lastname patientid patientname patients name names physician "
    "doctor studyid studydate studyno imageid number nr no".split()
)
# whose name a column may hold
_THINGS = frozenset(
    "site hospital scanner model manufacturer device machine protocol view station".split()
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DICOM_AGE = re.compile(r"(\d{1,3})([DWMY])", re.I)
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def may_identify(column: str) -> bool:
    """Tell whether a column's name, as the manifest spells it, says that it may identify people."""
    words = [w.lower() for w in _WORDS.findall(column)]
    if words and words[-1] == "name" and _THINGS & set(words):
        return False
    return bool(_IDENTIFYING & {*words, "".join(words)})


def group_by(column: str, values: Sequence[str]) -> list[str]:
    """Return the group of each row by one column.

    Args:
        column: its name; one with the word `age` has ages in years, or as DICOM writes them
            (`006M`), which go into fixed bands. Other numbers of many values go into quarters.
        values: N texts, empty or a word for "not known" where not given.

    Raises:
        ValueError: the values do not group the rows; the message says why, and quotes none.
    """
    texts = [known_patient(v) for v in values]
    known = [t for t in texts if t]
    if not known:
        raise ValueError("it is empty")
    if "age" in [w.lower() for w in _WORDS.findall(column)]:
        ages = [_years(t) for t in texts]
        if all(a is not None for a, t in zip(ages, texts, strict=True) if t):
            return [_age_band(a) for a in ages]
    spelling = Counter(known)
    usual = {}
    for text, _ in sorted(spelling.items(), key=lambda item: (item[1], item[0])):
        usual[text.casefold()] = text  # the commonest spelling stays
    if len(usual) > MOST_GROUPS and (numbers := _numbers(texts)) is not None:
        return _quarters(numbers)
    if len(usual) > min(MOST_GROUPS, max(1, len(known) / 2)):
        raise ValueError(
            f"it has {len(usual)} different values in {len(known)} rows; at most {MOST_GROUPS} "
            "make groups"
        )
    return [usual[t.casefold()] if t else NOT_GIVEN for t in texts]


def _years(text: str) -> float | None:
    if (found := _DICOM_AGE.fullmatch(text)) is not None:
        return int(found[1]) * _YEARS[found[2].upper()]
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 130 else None


def _age_band(age: float | None) -> str:
    if age is None:
        return NOT_GIVEN
    return next(name for end, name in AGE_BANDS if int(age) <= end)


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    try:
        numbers = np.array([float(t) if t else np.nan for t in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers


def _quarters(numbers: np.ndarray) -> list[str]:
    edges = np.unique(np.nanquantile(numbers, (0.25, 0.5, 0.75)))
    names = [f"up to {edges[0]:g}"]
    names += [f"{a:g} to {b:g}" for a, b in zip(edges, edges[1:], strict=False)]
    names.append(f"over {edges[-1]:g}")
    where = np.searchsorted(edges, numbers)
    return [NOT_GIVEN if np.isnan(x) else names[i] for x, i in zip(numbers, where, strict=True)]
