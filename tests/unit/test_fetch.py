"""Downloads from a server on this machine, which may cut the connection."""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from astropy.table import Table

from torusimaging import catalog
from torusimaging.catalog.surveys.registry import DOWNLOADS


def _fits() -> bytes:
    """A FITS file of 3 MB."""
    out = io.BytesIO()
    Table({"x": np.random.default_rng(0).random(375_000)}).write(out, format="fits")
    return out.getvalue()


CONTENT = _fits()
NAMES = [item.name for item in DOWNLOADS["apogee-dr17"]]


@pytest.fixture
def server():
    """An address whose folder holds any file; `server.cut` is where the next reply breaks off."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            same = self.headers.get("If-Range") == self.server.tag
            start = int(asked[6:-1]) if asked and same else 0
            self.server.starts.append(start)
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = (self.server.content or CONTENT)[start:]
            self.send_response(206 if start else 200)
            if self.server.length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", self.server.tag)
            if start:
                self.send_header("Content-Range", f"bytes {start + self.server.shift}-/*")
            self.end_headers()
            cut, self.server.cut = self.server.cut, None
            self.wfile.write(body[:cut])
            self.close_connection = True

        def log_message(self, format, *values):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.cut, server.tag, server.starts = None, '"1"', []
    server.content, server.length, server.shift = None, True, 0
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}/"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_arrive_whole_and_once(server, tmp_path):
    found = catalog.fetch("apogee-dr17", tmp_path / "data", server.address)
    assert [f.name for f in found.files] == NAMES and not found.by_hand
    assert all(f.read_bytes() == CONTENT for f in found.files)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == sorted(NAMES)
    catalog.fetch("apogee-dr17", tmp_path / "data", server.address)
    assert len(server.starts) == 2


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.cut = 1_500_000
    with pytest.raises(OSError, match=r"could not be downloaded after \d+ bytes.*run the command"):
        catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    part = tmp_path / f"{NAMES[0]}.part"
    kept = part.stat().st_size
    assert not (tmp_path / NAMES[0]).exists() and 0 < kept <= 1_500_000
    found = catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    assert server.starts == [0, kept]
    assert found.files[0].read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == [NAMES[0]]


def test_a_file_that_changed_is_taken_anew(server, tmp_path):
    server.cut = 1_500_000
    with pytest.raises(OSError):
        catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    server.tag = '"2"'
    found = catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    assert server.starts == [0, 0] and found.files[0].read_bytes() == CONTENT


def test_a_complete_part_is_no_reason_to_fail_for_ever(server, tmp_path):
    """A process that was killed just before the file took its name."""
    (tmp_path / f"{NAMES[0]}.part").write_bytes(CONTENT)
    (tmp_path / f"{NAMES[0]}.part.tag").write_text(server.tag)
    found = catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    assert found.files[0].read_bytes() == CONTENT


def test_an_answer_from_another_byte_is_not_appended(server, tmp_path):
    server.cut = 1_500_000
    with pytest.raises(OSError):
        catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    server.shift = -7
    found = catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    assert found.files[0].read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"<html>not here</html>", CONTENT[:1_500_000]])
def test_what_is_no_whole_fits_file_is_refused(server, tmp_path, content):
    """A page in place of the file, and a connection that ends where no length was announced."""
    server.content, server.length = content, False
    with pytest.raises(OSError, match="what arrived is no whole FITS file"):
        catalog.fetch("apogee-dr17-alone", tmp_path, server.address)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / NAMES[0]).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a FITS file|is truncated"):
        catalog.fetch("apogee-dr17-alone", tmp_path, server.address)


def test_without_a_connection_the_sentence_says_what_to_do(tmp_path):
    nobody = "http://127.0.0.1:9/"  # the port of the discard service, which nobody serves
    with pytest.raises(OSError) as failure:
        catalog.fetch("apogee-dr17", tmp_path, nobody)
    text = str(failure.value)
    assert (
        NAMES[0] in text
        and NAMES[1] in text
        and "by hand and put it into" in text
        and str(tmp_path) in text
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_an_address_is_left_to_the_user(tmp_path, server, monkeypatch):
    (tmp_path / NAMES[0]).write_bytes(CONTENT)
    found = catalog.fetch("apogee-dr17", tmp_path)
    assert [f.name for f in found.files] == NAMES[:1] and NAMES[1] in found.by_hand[0]


def test_presets_without_public_files():
    with pytest.raises(
        ValueError, match="galah-dr4 cannot be fetched .*galah_dr4_allstar.*download it from https"
    ):
        catalog.fetch("galah-dr4")
    with pytest.raises(ValueError, match="no public files 'apogee'"):
        catalog.fetch("apogee")
