"""A made-up summary of an audit."""

COUNTS = {"groups": 2, "files": 4, "across_labels": 0, "across_patients": 1, "across_splits": 0}
KEY = {
    "patients": 400,
    "with_several": 90,
    "images_of_those": 290,
    "most_images": 4,
    "without_key": 0,
    "both_subtypes": 3,
    "images_of_both_subtypes": 9,
    "overlaps": {"train/test": {"patients": 2, "first": 5, "second": 3}},
}


def make_summary(data="chest_xray", part="train", label="pneumonia", kind="not-an-image"):
    """Give the layout of summary.json."""
    return {
        "data": data,
        "source": "kaggle-folder",
        "files": 600,
        "usable": 599,
        "set_aside": {kind: 1},
        "classes": {part: {"normal": 200, label: 399}},
        "duplicates": {"exact": COUNTS, "near": COUNTS},
        "patients": {"namespaced": KEY, "bare": KEY},
        "patient_key": "namespaced",
        "modes": {"L": {"normal": 200, label: 380}, "RGB": {"normal": 0, label: 19}},
        "sizes": {"width": {"normal": 1654.0, "pneumonia": 1160.0, "auroc": 0.12}},
    }
