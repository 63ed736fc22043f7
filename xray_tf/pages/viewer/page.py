"""The page on which radiographs are dropped and read, the page that it exports, and the page about
its API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from xray_tf.artifact import Card
from xray_tf.pages.evidence.page import STYLE
from xray_tf.pages.kit.render import Page


@dataclass(frozen=True)
class ViewerPage(Page):
    """The page of a running server.

    Attributes:
        card: the model's card.
        operating_point: the name of the point that decides.
        detector: the name of the anomaly detector; empty if there is none.
        megabytes: the most that one upload may have.
    """

    template = "viewer/viewer.html.jinja"
    styles = (STYLE, "viewer/viewer.css")
    script = "viewer/viewer.js"
    card: Card
    operating_point: str
    detector: str = ""
    megabytes: float = 64

    @property
    def policy(self) -> Markup:
        """The common policy; it may also ask its own server, and show what that answers."""
        common = str(super().policy).replace("img-src data:", "img-src data: blob:")
        return Markup(common + "; connect-src 'self'; base-uri 'none'; form-action 'none'")


@dataclass(frozen=True)
class ExportPage(Page):
    """The frame of the page that a viewer exports: it puts the cases in and saves it."""

    template = "viewer/export.html.jinja"
    styles = (STYLE,)
    script = "kit/layers.js"
    card: Card


@dataclass(frozen=True)
class ApiPage(Page):
    """The JSON API, from its OpenAPI description."""

    template = "viewer/api.html.jinja"
    schema: dict[str, Any]

    @property
    def routes(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of each route."""
        paths = self.schema["paths"].items()
        return [(method.upper(), path, told) for path, of in paths for method, told in of.items()]

    @property
    def objects(self) -> list[tuple[str, str, list[list[str]]]]:
        """Name, description and fields (name, type, meaning) of each JSON object."""
        schemas = self.schema["components"]["schemas"]
        return [
            (
                name,
                told.get("description", ""),
                [
                    [f, type_text(s), s.get("description", "")]
                    for f, s in told["properties"].items()
                ],
            )
            for name, told in schemas.items()
            if "Validation" not in name and "properties" in told
        ]


def type_text(schema: dict[str, Any]) -> str:
    """Write the type of a JSON schema in short."""
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    if "anyOf" in schema:
        kinds = [type_text(s) for s in schema["anyOf"]]
        return " or ".join(k for k in kinds if k != "null") + ", optional" * ("null" in kinds)
    if schema.get("type") == "array":
        return f"list of {type_text(schema['items'])}" if "items" in schema else "list"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{{class: {type_text(schema['additionalProperties'])}}}"
    return str(schema.get("type", "any"))
