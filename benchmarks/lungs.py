"""Measure the shipped lung segmenter beyond its own metrics.json.

python benchmarks/lungs.py --data chest_xray --masks lung_masks [--originals DIR] [--sheet FILE]

How fast it is beside a classifier's forward pass and through `segment_lungs`; how far the masks
that people drew differ among themselves, seen from the net's lower edge; whether a radiograph at
full size has the lungs of its small copy; and what the score says of photographs, digits, and a
screenshot that shows chests in places. Results are in results/lungs.json. `--sheet` draws the
twelve held-out radiographs with the least overlap, for inspection.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import xray_tf
from xray_tf.data.chest.lung_masks import (
    IGNORE,
    LUNG,
    intersection_over_union,
    read_mask,
    resize_mask,
)
from xray_tf.data.tables.split_file import read_split
from xray_tf.models.load import load

HERE = Path(__file__).parent
SIDE, BATCH, REPEATS, CROPS = 224, 32, 12, 60
CLASSIFIER = "pneumonia-three-class"


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, help="the radiographs, as for train-lungs")
    parser.add_argument("--masks", required=True, help="the folder of drawn masks")
    parser.add_argument("--originals", help="the same radiographs at full size, by name")
    parser.add_argument("--sheet", help="a picture to draw: the worst twelve with both outlines")
    given = parser.parse_args(args)
    segmenter = load("lungs")
    rows = drawn_rows(segmenter, Path(given.data), Path(given.masks))
    held_out = [row for row in rows if row["part"] == "test"]
    found = {
        "speed": speed(segmenter, [row["image"] for row in rows[:96]]),
        "lower_edge": lower_edge(held_out),
        "not_chests": not_chests(segmenter),
    }
    if given.originals:
        found["originals"] = originals(held_out, Path(given.originals))
    if given.sheet:
        worst = sorted(held_out, key=lambda row: row["iou"])[:12]
        cv2.imwrite(given.sheet, worst_sheet(worst))
    text = json.dumps(found, indent=1) + "\n"
    (HERE / "results" / "lungs.json").write_text(text, encoding="utf-8")
    print(text)


def drawn_rows(segmenter, data: Path, masks: Path) -> list[dict]:
    """Return every radiograph with a mask: image, mask, lungs found, IoU, patient, part, class."""
    files = {path.stem: path for path in data.rglob("*.jp*g")}
    rows = []
    for line in read_split(segmenter.folder / "split.csv"):
        stem = Path(line["path"]).stem
        if line["split"] == "val" or stem not in files:
            continue
        image = cv2.imread(str(files[stem]), cv2.IMREAD_GRAYSCALE)
        rows.append(
            {
                "name": stem,
                "image": image,
                "mask": read_mask(masks / f"{stem}.png", SIDE),
                "patient": line["patient"],
                "part": line["split"],
                "class": line["subtype"] or line["label"],
            }
        )
    for row, lungs in zip(rows, segmenter.stream([r["image"] for r in rows]), strict=True):
        row["lungs"] = lungs.mask > 0.5
        row["iou"] = intersection_over_union(lungs.mask, row["mask"])
    return rows


def speed(segmenter, images: list[np.ndarray]) -> dict[str, float]:
    """Time one forward pass of the segmenter and of a classifier, in turn, and `segment_lungs`."""
    nets = {"segmenter": segmenter.model, "classifier": load(CLASSIFIER).model}
    batch = np.stack(images[:BATCH])[..., None].astype(np.float32)
    seconds = defaultdict(list)
    for repeat in range(REPEATS + 2):
        for name, net in nets.items():
            taken = timed(lambda net=net: net.predict_on_batch(batch))
            seconds[name] += [taken] if repeat >= 2 else []
    best = {name: min(values) / BATCH for name, values in seconds.items()}
    stack = np.stack(images)
    whole = min(timed(lambda: xray_tf.segment_lungs(stack)) for _ in range(3))
    return {
        "segmenter_ms": 1000 * best["segmenter"],
        "classifier_ms": 1000 * best["classifier"],
        "share_of_classifier": best["segmenter"] / best["classifier"],
        "segment_lungs_per_second": len(images) / whole,
    }


def timed(call: Callable) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def lower_edge(rows: list[dict]) -> dict[str, dict]:
    """Say how far below the net's the drawn lower edges lie, and how well all above them agrees."""
    found = {}
    for name in ("all", "normal", "bacterial", "viral"):
        chosen = [row for row in rows if name in ("all", row["class"])]
        offsets = np.array([offset(row) for row in chosen])
        found[name] = {
            "radiographs": len(chosen),
            "iou": float(np.mean([row["iou"] for row in chosen])),
            "iou_above_both_edges": float(np.mean([above(row) for row in chosen])),
            "pixels_below": dict(
                zip(("5%", "50%", "95%"), np.quantile(offsets, (0.05, 0.5, 0.95)), strict=True)
            ),
            "drawn_more_than_8_pixels_below": float((offsets > 8).mean()),
        }
    return found


def lowest(mask: np.ndarray) -> np.ndarray:
    """Return the lowest row of each column, -1 where there is none."""
    return np.where(mask.any(0), len(mask) - 1 - np.argmax(mask[::-1], 0), -1)


def offset(row: dict) -> float:
    drawn, columns = row["mask"] == LUNG, (row["mask"] == LUNG).any(0) & row["lungs"].any(0)
    return float(np.median((lowest(drawn) - lowest(row["lungs"]))[columns]))


def above(row: dict) -> float:
    """Return the IoU of what lies above both lower edges, the drawn and the net's."""
    drawn = row["mask"] == LUNG
    edge = np.minimum(lowest(drawn), lowest(row["lungs"]))
    here = (np.arange(SIDE)[:, None] <= edge) & (row["mask"] != IGNORE)
    return float((drawn & row["lungs"] & here).sum() / ((drawn | row["lungs"]) & here).sum())


def not_chests(segmenter) -> list[dict]:
    """Score crops of photographs that come with libraries, and of a screenshot of this project."""
    from matplotlib import cbook
    from sklearn.datasets import load_digits, load_sample_images

    pictures = {
        f"photograph {i}": cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        for i, photo in enumerate(load_sample_images().images)
    }
    portrait = cv2.imread(
        str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)), cv2.IMREAD_GRAYSCALE
    )
    screen = cv2.imread(str(HERE.parent / "docs" / "first_screen.png"), cv2.IMREAD_GRAYSCALE)
    pictures |= {"portrait": portrait, "screenshot": screen}
    rng, found = np.random.default_rng(0), []
    for name, picture in pictures.items():
        found.append(scored(segmenter, name, [random_crop(picture, rng) for _ in range(CROPS)]))
    digits = [
        cv2.resize((d * 15.9).astype(np.uint8), (SIDE, SIDE)) for d in load_digits().images[:CROPS]
    ]
    return [*found, scored(segmenter, "handwritten digits", digits)]


def random_crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = int(min(picture.shape) * rng.uniform(0.3, 1.0))
    top, left = (int(rng.integers(0, n - side + 1)) for n in picture.shape)
    return picture[top : top + side, left : left + side]


def scored(segmenter, kind: str, pictures: list[np.ndarray]) -> dict:
    scores = np.array([found.chest for found in segmenter.stream(pictures)])
    return {
        "kind": kind,
        "pictures": len(scores),
        "highest": float(scores.max()),
        "taken_for_chests": float((scores >= segmenter.threshold).mean()),
    }


def originals(rows: list[dict], folder: Path) -> dict[str, float]:
    """Compare the lungs of held-out radiographs at full size with those of their small copies."""
    files, agree, ious = {p.stem: p for p in folder.rglob("*.jp*g")}, [], []
    for row in (row for row in rows if row["name"] in files):
        image = cv2.imread(str(files[row["name"]]), cv2.IMREAD_GRAYSCALE)
        lungs = xray_tf.segment_lungs(image)[0]
        ious.append(intersection_over_union(lungs, resize_mask(row["mask"], image.shape)))
        small = cv2.resize(lungs, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.5
        agree.append((small & row["lungs"]).sum() / (small | row["lungs"]).sum())
    return {
        "radiographs": len(ious),
        "iou_full_size": float(np.mean(ious)),
        "agreement_with_small_copy": float(np.mean(agree)),
    }


def worst_sheet(rows: list[dict], side: int = 336) -> np.ndarray:
    """Draw radiographs with the drawn lungs (green) and those found (red)."""
    tiles = []
    for row in rows:
        tile = cv2.resize(cv2.cvtColor(row["image"], cv2.COLOR_GRAY2BGR), (side, side))
        for mask, colour in ((row["mask"] == LUNG, (0, 220, 0)), (row["lungs"], (60, 60, 255))):
            large = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
            outline = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
            cv2.drawContours(tile, outline, -1, colour, 2)
        text = f"{row['iou']:.3f} {row['class']}"
        cv2.putText(tile, text, (6, side - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 220, 255), 1)
        tiles.append(tile)
    return np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)])


if __name__ == "__main__":
    main()
