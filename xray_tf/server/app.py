"""The routes: a page, a JSON API, and pages about both."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from xray_tf import __version__
from xray_tf.pages.viewer.page import ApiPage, ExportPage, ViewerPage
from xray_tf.server.answers import PARTS, Answer, Failure, Health, Several, Unpacked
from xray_tf.server.desk import Desk
from xray_tf.server.guard import Guard
from xray_tf.server.uploads import FIELD, Refused, take_upload

# FastAPI would write uploads to the disk, so requests are read here, and described by hand
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": "JPEG, PNG or DICOM, or a ZIP of them",
                        }
                    },
                }
            }
        },
    }
}
_REFUSALS = {
    code: {"model": Failure, "description": what}
    for code, what in {
        400: "not one file in the field",
        401: "a token is needed",
        403: "a post from another site",
        413: "too many bytes or pixels",
        415: "not multipart",
        422: "not a radiograph that can be read",
    }.items()
}
_INCLUDE = Query(
    description="What else to answer, several separated by commas: "
    + "; ".join(f"{name}: {what}" for name, what in PARTS.items())
)


def create_app(desk: Desk, token: str = "") -> Guard:
    """Return the application that answers for a desk, to those who show the token."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        warming = asyncio.create_task(desk.warm_up())
        yield
        warming.cancel()
        desk.close()

    app = FastAPI(
        title="xray_tf",
        version=__version__,
        description="Read chest radiographs. Research software, not a medical device.",
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_errors(app)
    _add_pages(app, desk)

    @app.get("/api/health", summary="How the server is")
    async def health() -> Health:
        return Health(
            status="ok" if desk.ready else "starting",
            model=desk.reader.classifier.card.name,
            version=__version__,
            waiting=desk.waiting,
        )

    @app.post(
        "/api/read",
        summary="Read a radiograph, or a ZIP of them",
        openapi_extra=_UPLOAD,
        responses=_REFUSALS,
        response_model_exclude_none=True,
    )
    async def read(request: Request, include: Annotated[str, _INCLUDE] = "") -> Answer | Several:
        parts = parts_of(include)
        found = await desk.serve(
            lambda: take_upload(request, desk.limits), lambda upload: desk.read(upload, parts)
        )
        return Several(cases=found) if isinstance(found, list) else found

    @app.post(
        "/api/unpack",
        summary="Unpack a ZIP, to read its radiographs one by one",
        openapi_extra=_UPLOAD,
        responses=_REFUSALS,
    )
    async def unpack(request: Request) -> Unpacked:
        return Unpacked(
            files=await desk.serve(lambda: take_upload(request, desk.limits), desk.unpack)
        )

    return Guard(app, token)


def parts_of(include: str) -> tuple[str, ...]:
    """Split the names of the parts that are asked for.

    Raises:
        Refused: one of them is unknown.
    """
    parts = tuple(name.strip() for name in include.split(",") if name.strip())
    for name in parts:
        if name not in PARTS:
            raise Refused(422, "bad-request", f"include: {name!r} is none of {', '.join(PARTS)}.")
    return parts


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        # what is left of the body is not read
        told = Failure(error=str(error), kind=error.kind).model_dump(exclude_none=True)
        return JSONResponse(told, error.status, headers={"connection": "close"})

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        text = "The server failed; its terminal says why."
        return JSONResponse({"error": text, "kind": "failure"}, 500)

    @app.exception_handler(HTTPException)
    async def missing(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail, "kind": "http"}, error.status_code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        text = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"error": text, "kind": "bad-request"}, 422)


def _add_pages(app: FastAPI, desk: Desk) -> None:
    card, detector = desk.reader.classifier.card, desk.reader.detector
    viewer = ViewerPage(
        card=card,
        operating_point=desk.reader.point.name,
        detector=detector.card.name if detector else "",
        megabytes=desk.limits.size / 1e6,
    )

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return _html(viewer)

    @app.get("/export", include_in_schema=False)
    async def export() -> HTMLResponse:
        return _html(ExportPage(card=card))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return _html(ApiPage(schema=app.openapi()))


def _html(page) -> HTMLResponse:
    policy = f"{page.policy}; frame-ancestors 'none'"
    return HTMLResponse(page.render(), headers={"content-security-policy": policy})
