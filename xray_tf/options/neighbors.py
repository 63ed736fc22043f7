"""Options of embeddings and nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from xray_tf.options.declare import Checked, count, option


@dataclass(frozen=True)
class EmbedOptions(Checked):
    """Nearest neighbours: how embeddings are compared, voted on and plotted."""

    neighbors: int = option(
        0,
        "how many nearest training radiographs vote; 0: chosen by cross-validation over patients",
        metavar="K",
        least=0,
    )
    metric: str = option("cosine", "distance between embeddings", ("cosine", "euclidean"))
    weights: str = option(
        "distance",
        "weight of each neighbour's vote: the same, or 1 / distance",
        ("uniform", "distance"),
    )
    space: str = option(
        "standardised",
        "embeddings as they are, or each dimension scaled to mean 0 and variance 1",
        ("raw", "standardised"),
    )
    components: int = count(512, "principal components the embeddings are reduced to; 0: none")
    perplexity: float = option(30.0, "perplexity of t-SNE", metavar="NUMBER", least=1)
    map_rows: int = count(
        6000,
        "the most radiographs on the t-SNE and PCA plots, test rows first; 0: no plots, no page",
    )
    thumbnails: int = count(
        0,
        "side in pixels of the small pictures of training radiographs that the reference keeps, "
        "for whoever opens the model to see; 0: none",
    )
    embed_seed: int = count(0, "seed of the cross-validation folds and of t-SNE")
