"""The files of the web pages: package data below console/static, kept in memory.

Only names that are there are served, each with the media type of its suffix and no other, so
no path leads anywhere else. A file is known by its digest: `?v=DIGEST` may be kept for ever by
a browser (`url` gives such an address), without it each use asks again and mostly hears 304.
Guarantees: 1. nothing is read from a disk after the start.  2. what has a suffix that is not
in TYPES keeps the console from starting: a defect of ours.
Called by: console.server, the pages.  Raises: nothing.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from postroom.api.problem import Problem

PREFIX = "/static/"
INDEX = "index.html"
OCTETS_MAX = 8 << 20
TYPES: dict[str, str] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


class StaticFile:
    """One file: octets, type, and the digest it is known by."""

    __slots__ = ("digest", "media_type", "octets")

    def __init__(self, octets: bytes, media_type: str) -> None:
        self.octets = octets
        self.media_type = media_type
        self.digest = hashlib.sha256(octets).hexdigest()[:16]


class StaticFiles:
    """All files of the pages, by their names below console/static ("app.js", "icons/x.svg")."""

    def __init__(self, root: Traversable | None = None) -> None:
        self._files = dict(_read(root or files("postroom.console").joinpath("static")))
        assert sum(len(one.octets) for one in self._files.values()) <= OCTETS_MAX

    def url(self, name: str) -> str:
        """Return the address of a file that a browser may keep for ever."""
        return f"{PREFIX}{name}?v={self._files[name].digest}"

    def octets(self, name: str) -> bytes:
        """Return a file, for pages that are made of it."""
        return self._files[name].octets

    def add_to(self, application: web.Application) -> None:
        """Serve the files, and the index at / where there is one."""
        application.router.add_get(PREFIX + "{name:.+}", self._serve)
        if INDEX in self._files:
            application.router.add_get("/", self._serve_index)

    async def _serve_index(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, INDEX)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, request.match_info["name"])

    def _answer(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise Problem(404, f"there is no file {name!r}")
        tag = f'"{file.digest}"'
        is_kept = request.query.get("v") == file.digest
        headers = {"ETag": tag, "Cache-Control": FOR_EVER if is_kept else ASK_AGAIN}
        # RFC 9110 §13.1.2: a list of tags, or * for any.
        known = {one.strip() for one in request.headers.get("If-None-Match", "").split(",")}
        if tag in known or "*" in known:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.media_type
        return web.Response(body=file.octets, headers=headers)


def _read(root: Traversable, prefix: str = "") -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    if not root.is_dir():
        return found
    for one in root.iterdir():
        if one.is_dir():
            found += _read(one, f"{prefix}{one.name}/")
            continue
        suffix = one.name.rpartition(".")[2]
        assert suffix in TYPES, f"console/static/{prefix}{one.name}: no media type is known"
        found.append((prefix + one.name, StaticFile(one.read_bytes(), TYPES[suffix])))
    return found
