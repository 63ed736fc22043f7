"""The parts of a study's page that no single classifier's report has: neighbours, anomalies, heat
maps, faithfulness, shortcuts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xray_tf.artifact import read_card
from xray_tf.pages.classifier.sections import metric_name
from xray_tf.pages.kit.html import escape, image, picture, table
from xray_tf.pages.kit.words import NAMES, range_text, rows_text, value_text

_DETECTED = ("auroc", "auprc", "sensitivity", "specificity", "balanced_accuracy")
_COMPARED = ("accuracy", "balanced_accuracy", "f1", "auroc", "auprc", "ece")
_OUTCOMES = {
    "true positive": "Sick, called sick",
    "false positive": "Normal, called sick",
    "true negative": "Normal, called normal",
    "false negative": "Sick, called normal",
}


def neighbours_part(folder: Path) -> str:
    """Nearest neighbours beside the network's head, their confusion matrices, and the maps."""
    metrics = read_json(folder / "metrics.json")
    sides = [
        (k, words)
        for k, words in (("knn", "nearest neighbours"), ("head", "the network's head"))
        if metrics[k]
    ]
    out = [
        f"<p>{escape(metrics['dimensions'])} numbers a radiograph; "
        f"{escape(metrics['recipe_text'])}. No patient votes on its own radiographs.</p>"
    ]
    if sides:
        rows = [
            [escape(metric_name(n, metrics)), *(_cell(metrics[k]["metrics"][n]) for k, _ in sides)]
            for n in _COMPARED
        ]
        out.append(
            f"<p>On {escape(rows_text(metrics[sides[0][0]]))}.</p>"
            + table(["metric", *(w for _, w in sides)], rows, "Both on the same rows", raw=True)
        )
        pictures = [
            picture((folder / f"confusion_{k}.png").read_bytes(), _matrix_text(w, metrics[k]))
            for k, w in sides
        ]
        out.append('<div class="figures">' + "".join(pictures) + "</div>")
    if drawn := metrics.get("maps"):
        out.append(
            f"<p>On the maps: {drawn['tsne']['rows']:,} radiographs, training and "
            "validation rows among them: the errors counted there "
            "are no test.</p>"
        )
    for name, words in (("tsne", "t-SNE"), ("pca", "Principal components")):
        if (folder / f"{name}.png").is_file():
            alt = (
                f"{words} of the embeddings, three times: coloured by true class, by decision, "
                "and with the errors picked out."
            )
            out.append(picture((folder / f"{name}.png").read_bytes(), alt, "wide"))
    out.append(
        '<p class="small">Distances between clusters, and their sizes, mean little on a '
        "t-SNE map; who lies beside whom means more. In the study's "
        f"folder, {escape('/'.join(folder.parts[-2:]))}/page.html shows the radiograph "
        "behind every dot.</p>"
    )
    return "\n".join(out)


def explain_part(folder: Path) -> str:
    """The gallery: the most typical radiographs of each outcome, each with its map."""
    about = read_json(folder / "gallery.json")
    out = [
        f"<p>{about['explained']:,} test radiographs explained by "
        f"{escape(about['options']['method'])}; empty maps: {about['empty']:,}. "
        f"{escape(about['rule'])}</p>",
        '<p class="small">A heat map shows where the net\'s score came from. It shows neither '
        "that the net is right nor that a finding is there.</p>",
    ]
    for outcome, words in _OUTCOMES.items():
        cells = [c for c in about["cells"] if c["outcome"] == outcome]
        body = "".join(_gallery_cell(folder, c) for c in cells)
        out.append(
            f"<h4>{escape(words)}</h4>"
            + (f'<div class="gallery">{body}</div>' if cells else "<p>None in the sample.</p>")
        )
    return "\n".join(out)


def _gallery_cell(folder: Path, cell: dict[str, Any]) -> str:
    said = (
        f"Decided {cell['decided']} (probability {cell['probability']:.3f}), truly "
        f"{cell['label']}; map for {cell['map_of']}" + (", empty" if cell["empty"] else "")
    )
    caption = f"<figcaption>{escape(said)}. Radiograph {escape(cell['radiograph'])}.</figcaption>"
    return picture(
        (folder / cell["picture"]).read_bytes(),
        f"Radiograph, overlay and top region. {said}.",
        caption=caption,
    )


def anomaly_part(folder: Path) -> str:
    """The detector's rule, its figures, its scores of batches, and their histograms with the
    thresholds.
    """
    from xray_tf.data.scores import Scores
    from xray_tf.pages.detector.figures import score_histograms
    from xray_tf.stats.detector.or_rule import Statistics

    card, scores = read_card(folder, kind="detector"), Scores.read_csv(folder / "scores.csv")
    point = card.point()
    out = [f'<p class="warning" role="note">{escape(n)}</p>' for n in card.notes if "budget" in n]
    out.append(
        "<p>Learnt from normal radiographs only. "
        f"{escape(point.words().capitalize())}; {escape(point.criterion)}.</p>"
    )
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else None
    if metrics:
        rows = [
            ["False alarms among normals", _cell(metrics["false_alarms"])],
            *([NAMES[n], _cell(metrics["metrics"][n])] for n in _DETECTED),
        ]
        out.append(
            f"<p>On {escape(rows_text(metrics))}. Always saying "
            f"{escape(metrics['chance']['class'])} has an accuracy of "
            f"{metrics['chance']['accuracy']:.3f}.</p>"
            + table(
                ["metric", "value and 95 % interval"], rows, "Figures of the detector", raw=True
            )
        )
        singles = [
            [n.replace("_", " "), _cell(c["auroc"]), _cell(c["auprc"])]
            for n, c in metrics["scores"].items()
        ]
        out.append(
            table(
                ["score", "AUROC", "AUPRC"],
                [[escape(n), a, b] for n, a, b in singles],
                "Each score alone, and all together",
                raw=True,
            )
        )
    rows = [
        [
            s.group,
            s.score.replace("_", " "),
            f"{s.rows:,}",
            f"{s.mean:.5g}",
            f"{s.standard_deviation:.3g}",
            f"{s.beyond:.1%}",
        ]
        for s in Statistics.read_csv(folder / "statistics.csv")
    ]
    out.append(
        table(
            ["batch", "score", "radiographs", "mean", "standard deviation", "beyond the threshold"],
            rows,
            "Scores of batches",
            wide=True,
        )
    )
    tested = scores.where(scores.splits == "test") if (scores.splits == "test").any() else scores
    out.append(
        image(
            score_histograms(tested, point.thresholds),
            "Histograms of each score "
            "over normals and pneumonia, with the threshold. The table above "
            "holds their means.",
            "wide",
        )
    )
    return "\n".join(out)


def faithfulness_part(folder: Path) -> str:
    """What happens to the score when a map's pixels are removed, beside maps that know no net; and
    what shuffled weights leave of the map.
    """
    from xray_tf.pages.heatmaps import measures

    found = measures.shortcut_summary(folder)["faithfulness"]
    if not found:
        return ""
    out = [f"<p>{escape(s)}</p>" for s in measures.faithfulness_sentences(found)]
    if "maps" in found:
        out += [
            f'<p class="small">{escape(measures.STAR)}</p>',
            table(*measures.faithfulness_rows(found), "Faithfulness of maps", wide=True),
            image(
                measures.removal_figure(found),
                "Mean score against the share of pixels "
                "removed, the map's most and least important ones first, for each "
                "map and each baseline. The table above holds the areas.",
                "wide",
            ),
        ]
    if found.get("randomisation"):
        what = found["randomisation"]["what"].capitalize()
        out += [
            f"<h4>Do the maps depend on what was learnt?</h4><p>{escape(what)}. "
            f"{escape(measures.RANDOM_CAVEAT)}</p>",
            image(
                measures.randomisation_figure(found),
                "How alike the maps stay to the "
                "trained net's while weights are shuffled from the top layer down, "
                "with how alike maps of different radiographs are.",
                "wide",
            ),
        ]
    return "\n".join(out)


def shortcut_part(folder: Path) -> str:
    """What the decisions keep when regions are taken away, and how much of the maps lies where."""
    from xray_tf.pages.heatmaps import measures

    found = measures.shortcut_summary(folder)["shortcuts"]
    if not found:
        return ""
    return "\n".join(
        [
            *(f"<p>{escape(s)}</p>" for s in measures.shortcut_sentences(found)),
            f'<p class="small">{escape(measures.CAVEAT)}</p>',
            image(
                measures.shortcut_figure(found),
                "What survives without each region, "
                "a mark a fill, with 95 % intervals; the table below holds the "
                "same numbers.",
                "wide",
            ),
            table(*measures.shortcut_rows(found), "Decisions without regions", wide=True),
            "<h4>Where the maps lie</h4>",
            table(*measures.map_rows(found), "Where the maps lie", wide=True),
        ]
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _cell(cell: dict[str, Any]) -> str:
    return (
        f'<span class="number">{value_text(cell)}</span> <span class="small '
        f'whole">{escape(range_text(cell))}</span>'
    )


def _matrix_text(words: str, metrics: dict[str, Any]) -> str:
    names = metrics["class_names"]
    said = "; ".join(
        f"true {n}: " + ", ".join(f"{c} decided {m}" for m, c in zip(names, row, strict=True))
        for n, row in zip(names, metrics["confusion_matrix"], strict=True)
    )
    return f"Confusion matrix of {words}. {said}."
