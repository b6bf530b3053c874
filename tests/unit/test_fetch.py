"""Downloads from a server on this machine, which may cut the connection."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from torusimaging import catalog
from torusimaging.catalog.fetch import DOWNLOADS

CONTENT = np.random.default_rng(0).bytes(3_000_000)
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
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", self.server.tag)
            self.end_headers()
            cut, self.server.cut = self.server.cut, None
            self.wfile.write(body[:cut])
            self.close_connection = True

        def log_message(self, format, *values):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.cut, server.tag, server.starts = None, '"1"', []
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


def test_without_a_connection_the_sentence_says_what_to_do(tmp_path):
    nobody = "http://127.0.0.1:9/"  # the port of the discard service, which nobody serves
    with pytest.raises(OSError) as failure:
        catalog.fetch("apogee-dr17", tmp_path, nobody)
    text = str(failure.value)
    assert NAMES[0] in text and "by hand and put it into" in text and str(tmp_path) in text
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_an_address_is_left_to_the_user(tmp_path, server, monkeypatch):
    (tmp_path / NAMES[0]).write_bytes(b"x")
    found = catalog.fetch("apogee-dr17", tmp_path)
    assert [f.name for f in found.files] == NAMES[:1] and NAMES[1] in found.by_hand[0]


def test_presets_without_public_files():
    with pytest.raises(ValueError, match="galah-dr4 cannot be fetched: download galah_dr4_allstar"):
        catalog.fetch("galah-dr4")
    with pytest.raises(ValueError, match="no public files 'apogee'"):
        catalog.fetch("apogee")
