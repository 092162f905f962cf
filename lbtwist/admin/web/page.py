"""
The page for people: files that are served as they are, without a token, because there is
nothing of the balancer in them; it asks C{/api/v1} for what it shows.

They are read once. All but the page itself lie below a directory that is called by what is in
them, so that a browser may keep them for good, and never mixes those of two versions. Nothing
is built, and nothing comes from elsewhere: uPlot is here, with its licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "static"
_PAGE = "index.html"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""
The C{Content-Security-Policy} that the page keeps to (CSP level 3, and Trusted Types): nothing
inline, nothing from elsewhere, and no text becomes HTML.
"""


def _read(directory: Path) -> dict[str, tuple[str, bytes]]:
    """@return: as L{FILES}."""
    found = {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.suffix in _TYPES
    }
    digest = sha256()
    for name, data in found.items():
        digest.update(b"%s %d\n%s" % (name.encode(), len(data), data))
    place = f"static/{digest.hexdigest()[:16]}/"
    # Relative, so that it can be served below any path.
    page = found.pop(_PAGE).replace(b'"static/', f'"{place}'.encode())
    files = {
        f"/{place}{name}": (_TYPES[Path(name).suffix], data) for name, data in found.items()
    }
    return {"/": (_TYPES[".html"], page), **files}


FILES: Mapping[str, tuple[str, bytes]] = _read(_DIRECTORY)
"""What is at which path: its media type, and its bytes. L{lbtwist.admin.web.site} adds the
headers; paths but C{/} begin with C{/static/}."""


def cachingOf(path: str) -> str:
    """
    @param path: one of L{FILES}.
    @return: its C{Cache-Control} (RFC 9111 section 5.2.2, RFC 8246).
    """
    return "no-cache" if path == "/" else "public, max-age=31536000, immutable"
