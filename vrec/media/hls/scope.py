"""Scope of a stream's playlists and segments: below allowed roots, with the playlist's own scheme."""

import os
import re
from collections.abc import Sequence

from yarl import URL

from vrec.core.errors import SourceRefused
from vrec.core.masking import mask_credentials
from vrec.core.uris import SplitUri, is_web, local_path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WEB = ("http", "https")


class HlsScope:
    """Allowed places of one stream.

    A stream from the web never leads to a local file, from https to http, or to what is below no root; a
    local one never out of its playlist's folder, links included.
    """

    def __init__(self, source: str, roots: Sequence[str]) -> None:
        """Check the source itself.

        Args:
            source: Path or URI of the playlist.
            roots: Folders and prefixes of URIs below which streams may be read.

        Raises:
            SourceRefused: It is below no root, or neither a local path nor `http://` or `https://`.
        """
        self._roots, self.is_web = roots, is_web(source)
        self._folder = ""
        if self.is_web:
            self.source = source
            self._scheme = source.partition(":")[0].lower()
            self._check_web(source, source)
            return
        path = local_path(source)
        if path is None or (_SCHEME.match(source) and SplitUri.parse(source) is None):
            raise SourceRefused(f"{_shown(source)} is neither a path nor an http:// or https:// URI")
        self.source = os.path.realpath(path) if "\0" not in path else path
        if "\0" in path or not os.path.isabs(path) or not self._is_below_local_root(self.source):
            raise SourceRefused(f"{_shown(source)} is not below a folder that streams may be read from")
        self._folder = os.path.dirname(self.source)

    def join(self, base: str, reference: str) -> str:
        """Return what a playlist, or a redirect, at `base` names; raises SourceRefused."""
        if self.is_web:
            try:
                found = str(URL(base).join(URL(reference)))
            except (ValueError, TypeError):
                raise SourceRefused(f"{_shown(reference)} is no URI") from None
            self._check_web(found, reference)
            return found
        if _SCHEME.match(reference) or "\0" in reference:
            raise SourceRefused(f"{_shown(reference)}: a local playlist may name files in its folder alone")
        found = os.path.realpath(os.path.join(os.path.dirname(base), reference))
        if os.path.commonpath([found, self._folder]) != self._folder:
            raise SourceRefused(f"{_shown(reference)} is outside of its playlist's folder")
        return found

    def _check_web(self, uri: str, shown: str) -> None:
        try:
            # As the one who fetches it parses it: two parsers could see two hosts.
            url = URL(uri)
            scheme, place = url.scheme, (url.scheme, url.host, url.port)
        except ValueError:
            raise SourceRefused(f"{_shown(shown)} is no URI") from None
        if scheme not in _WEB or (self._scheme == "https" and scheme != "https"):
            raise SourceRefused(f"{_shown(shown)}: a stream from {self._scheme}:// may not lead to {scheme}:")
        steps = url.path.replace("\\", "/").split("/")
        is_plain = not any(step in (".", "..") for step in steps)
        if not is_plain or not any(_is_below(place, url.path, root) for root in self._roots):
            raise SourceRefused(f"{_shown(shown)} is not below a place that streams may be read from")

    def _is_below_local_root(self, path: str) -> bool:
        roots = [os.path.realpath(local) for root in self._roots if (local := local_path(root)) is not None]
        return any(os.path.commonpath([path, root]) == root for root in roots)


def _is_below(place: tuple[str, str | None, int | None], path: str, root: str) -> bool:
    if not is_web(root):
        return False
    url = URL(root)
    return place == (url.scheme, url.host, url.port) and path.startswith(url.path.rstrip("/") + "/")


def _shown(uri: str) -> str:
    return mask_credentials(uri[:200])
