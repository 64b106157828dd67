"""Folders, manifests and containers at an address: against a real S3 server and real web servers, with failures and secrets."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import re
import socket
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import h5py
import numpy as np
import pandas as pd
import pytest

from dataprops.audit import audit
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import start_run
from dataprops.errors import DatapropsError
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.remote import connections, filesystems
from dataprops.sources.remote.connections import Access
from dataprops.util.budget import bounded, one_image
from dataprops.util.redact import redacted, reveal, withhold
from dataprops.util.tools import inline_tools
from tests.make_images import SIZE, random_folder
from tests.test_containers import MEASURED, hub_table, tar_of, zip_of
from tests.test_flow import run

QUICK = {"size": SIZE, "k": 5, "draws": 2, "estimators": ("mle",), "channels": 1, "probe": False}
SECRET = "pl4nted-s3cret"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("set")
    random_folder(root, {"cat": 9, "dog 1": 8})
    (root / "cat" / "no image.txt").write_text("x")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.*"))}


def images_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {key: data for key, data in files.items() if key.endswith(".png")}


def assert_same(source, files: dict[str, bytes]) -> None:
    table = source.scan()
    wanted = images_of(files)
    assert table["path"].tolist() == list(wanted)
    assert table["label"].tolist() == [key.split("/")[0] for key in wanted]
    assert [source.read(key) for key in table["key"]] == list(wanted.values())


class Folder(SimpleHTTPRequestHandler):
    """Python's own server, with a password, ranges and failures if asked for; counts requests."""

    password = ""
    ranges = False
    failures = 0

    def handle_one(self) -> bool:
        with self.server.lock:
            self.server.seen[self.command] += 1
            if self.server.failures > 0:
                self.server.failures -= 1
                self.send_error(503)
                return True
        if self.password and self.headers.get("Authorization") != self.password:
            self.send_error(401)
            return True
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if self.ranges and wanted and path.is_file():
            start, stop = wanted.removeprefix("bytes=").split("-")
            data = path.read_bytes()[int(start) : int(stop) + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return True
        return False

    def do_GET(self) -> None:
        if not self.handle_one():
            super().do_GET()

    def do_HEAD(self) -> None:
        if not self.handle_one():
            super().do_HEAD()

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def serve() -> Iterator:
    """serve(folder, handler attributes) -> (address, server)."""
    opened = []

    def start(folder: Path, **attributes) -> tuple[str, ThreadingHTTPServer]:
        handler = type("Handler", (Folder,), attributes)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        server.lock, server.seen, server.failures = threading.Lock(), Counter(), attributes.get("failures", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened.append(server)
        return f"http://127.0.0.1:{server.server_port}", server

    yield start
    for server in opened:
        server.shutdown()
        server.server_close()


def unpacked(root: Path, files: dict[str, bytes]) -> Path:
    for key, data in files.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
    return root


def looked(source: str, store: Path, **options) -> pd.DataFrame:
    """The first two stages; the images they found."""
    tools = inline_tools(threads=2)
    run = start_run(AuditConfig(source, store=str(store), **{**QUICK, **options}))
    scan(run, tools)
    decode(run, tools)
    return run.files.files.read()


# a web server


def test_a_listing_of_a_web_server_is_a_folder(files, serve, tmp_path: Path) -> None:
    url, _ = serve(unpacked(tmp_path / "www", {f"set/{key}": data for key, data in files.items()}))
    source = open_source(f"{url}/set")
    assert source.kind == "url"
    assert_same(source, files)
    assert source.scan().attrs["ignored"] == ["cat/no image.txt"]


def test_tables_beside_images_at_a_web_server_tell_their_labels(files, serve, tmp_path: Path) -> None:
    pictures = list(images_of(files).values())[:2]
    held = {f"im/{number}.png": data for number, data in enumerate(pictures)}
    held["im/metadata.csv"] = b"file_name,label\n0.png,a\n1.png,b\n"
    address, _ = serve(unpacked(tmp_path / "set", held))
    assert open_source(address).scan()["label"].tolist() == ["a", "b"]


@pytest.mark.parametrize("ranges", [True, False])
def test_objects_without_an_ending_are_known_by_their_first_bytes(ranges: bool, files, serve, tmp_path: Path) -> None:
    (image, *_) = images_of(files).values()
    held = {"cat/plain.png": image, "cat/none": image, "dog/odd.dat": image, "dog/text": b"text", "dog/empty": b""}
    address, _ = serve(unpacked(tmp_path / "set", held), ranges=ranges)
    source = open_source(address)
    table = source.scan()
    assert table["path"].tolist() == ["cat/none", "cat/plain.png", "dog/odd.dat"]
    assert [source.read(key) for key in table["key"]] == [image] * 3
    assert table.attrs["reasons"] == {"dog/text": "not an image", "dog/empty": "not an image"}


class Liar(Folder):
    """Promises little or nothing, and sends without end; or sends a bomb."""

    promise = None
    encoding = ""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.promise is not None:
            self.send_header("Content-Length", str(self.promise))
        if self.encoding:
            self.send_header("Content-Encoding", self.encoding)
        self.end_headers()
        body = gzip.compress(bytes(2**23)) if self.encoding else bytes(2**20)
        with contextlib.suppress(OSError):  # whoever has enough hangs up
            for _ in range(1 if self.encoding else 64):
                self.wfile.write(body)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"promise": 2**40}, "1,099,511,627,776 bytes, more than an image file should have"),
        ({"promise": 2**21}, "allows"),
        ({}, "bytes, more than an image file should have"),
        ({"encoding": "gzip"}, "bytes, more than an image file should have"),
    ],
)
def test_a_web_server_cannot_fill_the_memory(lie: dict, words: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Liar,), lie))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/x.png"
        with bounded(2**20), one_image(), pytest.raises((OSError, MemoryError), match=words):
            filesystems.read_bytes(address)
    finally:
        server.shutdown()
        server.server_close()


def test_odd_names_at_a_web_server(serve, tmp_path: Path, files) -> None:
    data = next(iter(images_of(files).values()))
    names = ["a&b/50%.png", "a&b/q?x=1.png", "a&b/#1.png", "é/ü [1].png"]
    url, _ = serve(unpacked(tmp_path / "www", dict.fromkeys(names, data)))
    source = open_source(url)
    table = source.scan()
    assert sorted(table["key"]) == sorted(names)
    assert all(source.read(key) == data for key in table["key"])


@pytest.mark.parametrize("ranges", [True, False])
def test_containers_at_a_web_server_with_and_without_ranges(ranges: bool, files, serve, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    root = tmp_path / "www"
    root.mkdir()
    zip_of(root / "s.zip", files)
    tar_of(root / "s.tar", files)
    tar_of(root / "s.tar.gz", files, "w:gz")
    data = list(images_of(files).values())
    pq.write_table(hub_table(data, [0] * len(data)), root / "s.parquet")
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 6)).astype(np.uint8)
    np.savez(root / "s.npz", images=images, labels=np.arange(5))
    with h5py.File(root / "s.h5", "w") as file:
        file["images"], file["labels"] = images, np.arange(5)
    url, _ = serve(root, ranges=ranges)
    for name in ("s.zip", "s.tar", "s.tar.gz"):
        assert_same(open_source(f"{url}/{name}"), files)
    hub = open_source(f"{url}/s.parquet")
    assert [hub.read(key) for key in hub.scan()["key"]] == data
    for name in ("s.npz", "s.h5"):
        source = open_source(f"{url}/{name}")
        np.testing.assert_array_equal([source.read(key).pixels for key in source.scan()["key"]], images)


def test_a_manifest_at_a_web_server_and_one_that_lists_addresses(files, serve, tmp_path: Path) -> None:
    root = unpacked(tmp_path / "www", files)
    wanted = images_of(files)
    (root / "list.csv").write_text("path,label\n" + "".join(f"{key},{key.split('/')[0]}\n" for key in wanted))
    url, _ = serve(root)
    assert_same(open_source(f"{url}/list.csv"), files)
    (tmp_path / "here.csv").write_text(
        f"path,label\n{url}/cat/000.png,a\nwww/cat/001.png,b\nfile:///etc/passwd,c\n{url}/gone.png,d\n"
    )
    source = open_source(str(tmp_path / "here.csv"))
    table = source.scan()
    assert source.read(f"{url}/cat/000.png") == wanted["cat/000.png"]
    assert source.read("www/cat/001.png") == wanted["cat/001.png"]
    with pytest.raises(OSError, match="scheme file are not read"):
        source.read("file:///etc/passwd")
    with pytest.raises(OSError, match="nothing is there"):
        source.read(f"{url}/gone.png")
    assert len(table) == 4


def test_a_server_that_fails_twice_is_asked_again(files, serve, tmp_path: Path) -> None:
    url, server = serve(unpacked(tmp_path / "www", files))
    for request in (
        lambda: filesystems.read_bytes(f"{url}/cat/000.png"),
        lambda: filesystems.listing(url, Access()),
        lambda: open_source(f"{url}/").scan(),
    ):
        server.failures = 2
        assert request() is not None
        assert server.failures == 0
    server.failures = 10**6
    with pytest.raises(OSError, match="the server answers 503, 4 times"):
        filesystems.read_bytes(f"{url}/cat/000.png")
    with pytest.raises(DatapropsError, match="cannot be listed: the server answers 503"):
        open_source(f"{url}/other").scan()
    server.failures, before = 0, server.seen["GET"]
    with pytest.raises(OSError, match="nothing is there"):
        filesystems.read_bytes(f"{url}/cat/gone.png")
    assert server.seen["GET"] == before + 1  # what will not pass is not tried again


def test_no_server_at_all() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DatapropsError, match=r"cannot be listed: the connection failed \(.*\), 4 times"):
        open_source(f"http://127.0.0.1:{port}/set")


def test_what_did_not_change_is_not_fetched_again(files, serve, tmp_path: Path) -> None:
    root = unpacked(tmp_path / "www", files)
    n = len(images_of(files))
    url, server = serve(root)
    first = looked(url, tmp_path / "store")
    server.seen.clear()
    second = looked(url, tmp_path / "store")
    assert second["pixels"].tolist() == first["pixels"].tolist()
    assert server.seen["HEAD"] == n
    assert server.seen["GET"] == 3  # the listing of three folders
    (root / "cat/000.png").write_bytes(files["cat/001.png"])
    import os

    os.utime(root / "cat/000.png", (1, 1))
    third = looked(url, tmp_path / "store")
    assert third["content"][0] == third["content"][1]


# secrets


def secret_places(tmp_path: Path) -> list[Path]:
    return [p for p in tmp_path.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]


@pytest.mark.parametrize("place", ["", "/set.zip", "/list.csv"])
def test_no_secret_is_stored_logged_or_shown(place: str, files, serve, tmp_path: Path, caplog, capfd) -> None:
    import base64

    caplog.set_level(logging.DEBUG)
    root = unpacked(tmp_path / "www", files)
    zip_of(root / "set.zip", files)
    asked = base64.b64encode(f"me:{SECRET}".encode()).decode()
    url, _ = serve(root, password=f"Basic {asked}")
    rows = "".join(f"{url}/{key}?X-Amz-Signature={SECRET},{key.split('/')[0]}\n" for key in images_of(files))
    (root / "list.csv").write_text("path,label\n" + rows.replace("http://", f"http://me:{SECRET}@").replace(" ", "%20"))
    if place == "/list.csv":
        url = url.replace("http://", f"http://me:{SECRET}@")
        source = f"{url}{place}"
        (root / "list.csv").rename(tmp_path / "list.csv")
        source = str(tmp_path / "list.csv")
    else:
        source = url.replace("http://", f"http://me:{SECRET}@") + place + (f"?sig={SECRET}" if place else "")
    summary = audit(source, store=str(tmp_path / "store"), **QUICK)
    assert summary["n_unreadable"] == 0
    assert summary["n_images"] == len(images_of(files))
    assert not secret_places(tmp_path / "store")
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())
    assert SECRET not in repr(open_source(source)) + repr(AuditConfig(source))
    if place != "/list.csv":
        assert "***@" in summary["source"]
        wrong = source.replace(f"{SECRET}@", f"{SECRET}-no@").replace("/set.zip?", "/other.zip?") + (
            "" if place else "/cat"
        )
        with pytest.raises(DatapropsError) as error:
            looked(wrong, tmp_path / "store")
        assert "access is denied" in str(error.value)
        assert SECRET not in str(error.value)
        assert not secret_places(tmp_path / "store")


def test_a_secret_behind_a_name_is_withheld_too() -> None:
    config = AuditConfig(f"zip:https://me:{SECRET}@host.invalid/x.zip?sig={SECRET}")
    assert config.source == "zip:https://***@host.invalid/x.zip?***"
    assert open_source(config.source).location == f"https://me:{SECRET}@host.invalid/x.zip?sig={SECRET}"


@pytest.mark.parametrize("quote_mark", ['"', "'", "\u201c"])
def test_an_address_in_quotes_is_refused_without_its_secrets(quote_mark: str) -> None:
    with pytest.raises(DatapropsError, match="give a folder of images") as error:
        open_source(f"{quote_mark}https://me:{SECRET}@host/it's.zip?sig={SECRET}{quote_mark}")
    assert SECRET not in str(error.value)
    assert "host/it's.zip" in str(error.value)


def test_a_withheld_secret_must_be_told_again() -> None:
    with pytest.raises(DatapropsError, match="does not have"):
        open_source("https://***@nobody.invalid/x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        ("https://u:p%40w@h:1/a?b=c&d=e#f", "https://***@h:1/a?***"),
        ("https://u:p@ss@h/a", "https://***@h/a"),
        ("two https://a:b@c/d and s3://e?versionId=f.", "two https://***@c/d and s3://e?***"),
        ("mail me@home, no address", "mail me@home, no address"),
        ("https://me:p/w@host/a.zip", "https://***@host/a.zip"),
        ("https://me:p?w#x@host/a.zip?s=1", "https://***@host/a.zip?***"),
        ("http://host:9000/a@2x.png", "http://host:9000/a@2x.png"),
        ("http://[::1]:9000/a@2x.png", "http://[::1]:9000/a@2x.png"),
        ("https://me../:pw@h/x", "https://me../***@h/x"),  # found by generated cases, as the next
        ('https://":pw@h/x?sig=1', "https://***@h/x?***"),
        ("https://u:p@h/x (1)/me:p@w/a", "https://***@h/x (1)/***@w/a"),
        ("two paths: /a/b:c@d, /e", "two paths: /a/b:c@d, /e"),
        ("https://h/it's.png?sig=1", "https://h/it's.png?***"),
        ("https://h/x?sig=a'b\"c and more", "https://h/x?*** and more"),
        ("'https://h/x?sig=1', \"https://h/y?sig=2\": no", "'https://h/x?***', \"https://h/y?***\": no"),
        ('{"a":"https://h/x?sig=1","b":2}', '{"a":"https://h/x?***","b":2}'),
        ("https://h/x#token=1", "https://h/x"),
        ("https://me:p w\t<1>@host/a.zip", "https://***@host/a.zip"),
        ("https://me:p w@ss@host/a.zip?sig=a b&token=c no", "https://***@host/a.zip?*** no"),
        ("https://h:80 is closed, ask me@home", "https://h:80 is closed, ask me@home"),
        ("\u202e://me:pw@h/x?sig=1", "\u202e://***@h/x?***"),
        ("https://proxy:8080/https://me:pw@h/x?s=1", "https://proxy:8080/https://***@h/x?***"),
        ('{"a":"https://h","b":"c@d"}', '{"a":"https://h","b":"c@d"}'),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "rest", ["me:p w@host/a.zip", "host/a.zip?sig=a b c", "me:<p>'\"@host/a.zip", "me:a/b c@host/x?y z"]
)
def test_a_source_is_one_address_whatever_stands_in_it(rest: str) -> None:
    for name in ("", "zip:"):
        source = f"{name}https://{rest}"
        shown = withhold(source)
        assert not re.search("p w|a b|b c|<p>|y z", shown), shown
        assert "host/" in shown and reveal(shown) == source


def test_an_unknown_scheme_and_a_missing_package_are_named(monkeypatch) -> None:
    with pytest.raises(DatapropsError, match="unknown scheme ftp://; expected http"):
        open_source("ftp://host/x")
    import fsspec

    def missing(scheme, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    for scheme, extra in (("s3", "s3"), ("gs", "gs")):
        with pytest.raises(DatapropsError, match=rf"pip install 'dataprops\[{extra}\]'"):
            open_source(f"{scheme}://nothing-of-this-name/x.zip").scan()


# S3


@pytest.fixture(scope="module")
def s3(files) -> Iterator[tuple[str, object]]:
    """A real S3 server with a private and a public bucket; its address, and a client."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3

    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="key-id", aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket="scans", ACL="public-read")
    for key, data in files.items():
        client.put_object(Bucket="scans", Key=f"deep/set/{key}", Body=data, ACL="public-read")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, data in files.items():
            archive.writestr(key, data)
    client.put_object(Bucket="scans", Key="set.zip", Body=buffer.getvalue(), ACL="public-read")
    rows = "".join(f"s3://scans/deep/set/{key},{key.split('/')[0]}\n" for key in images_of(files))
    client.put_object(Bucket="scans", Key="list.csv", Body=f"path,label\n{rows}".encode())
    yield url, client
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    connections._systems.values.clear()


def test_s3_folders_containers_and_manifests(s3, credentials, files, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    url, client = s3
    options = SourceOptions(rules=(f"endpoint={url}",))
    for name in ("deep/set", "set.zip"):
        assert_same(open_source(f"s3://scans/{name}", options), files)
    source = open_source("s3://scans/list.csv", options)
    assert [source.read(key) for key in source.scan()["key"]] == list(images_of(files).values())
    rules = (f"endpoint={url}",)
    first = looked("s3://scans/deep/set", tmp_path / "store", rules=rules)
    assert first["error"].isna().all()
    read = []
    original = filesystems.read_bytes

    def counted(location, access=None):
        read.append(location)
        return original(location, access)

    filesystems.read_bytes = counted
    try:
        looked("s3://scans/deep/set", tmp_path / "store", rules=rules)
        assert read == []  # the listing's ETags are enough
        client.put_object(Bucket="scans", Key="deep/set/cat/000.png", Body=files["cat/001.png"])
        third = looked("s3://scans/deep/set", tmp_path / "store", rules=rules)
        client.put_object(Bucket="scans", Key="deep/set/cat/000.png", Body=files["cat/000.png"])
    finally:
        filesystems.read_bytes = original
    assert read[0].endswith("cat/000.png")
    assert len(set(read)) == 1
    assert third["content"][0] == third["content"][1]
    assert not secret_places(tmp_path / "store")
    assert SECRET not in caplog.text


def test_an_audit_of_s3_equals_that_of_the_folder(s3, credentials, files, tmp_path: Path) -> None:
    url, _ = s3
    here = audit(unpacked(tmp_path / "here", files), store=str(tmp_path / "store"), **QUICK)
    there = audit("s3://scans/deep/set", store=str(tmp_path / "store"), rules=(f"endpoint={url}",), **QUICK)
    assert {key: there[key] for key in MEASURED} == {key: here[key] for key in MEASURED}
    assert (there["dataset"], there["source"]) == ("set", "s3://scans/deep/set")


@pytest.mark.slow
def test_keys_of_s3_are_in_no_file_that_a_flow_leaves(s3, files, monkeypatch, tmp_path: Path) -> None:
    """Audits on two processes, one that ends and one that fails: the store with reports, traceback and Prefect's database."""
    import sqlite3

    url, _ = s3
    planted = {
        "AWS_ACCESS_KEY_ID": "AKIAPL4NTEDKEY",
        "AWS_SECRET_ACCESS_KEY": SECRET + "/with+signs=",
        "AWS_SESSION_TOKEN": "pl4nted-t0ken//==",
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
    (tmp_path / "home").mkdir()
    options = [
        "--rule",
        f"endpoint={url}",
        "--store",
        str(tmp_path / "store"),
        "--cluster",
        "processes",
        "--workers",
        "2",
    ]
    options += ["--size", str(SIZE), "--k", "5", "--draws", "2", "--estimators", "mle", "--fail-on", "never"]
    done = run(["audit", "s3://scans/deep/set", *options], tmp_path / "home")
    assert done.returncode == 0, done.stderr
    failed = run(["audit", "s3://no-such-bucket/set", *options], tmp_path / "home")
    assert failed.returncode not in (0, 1), failed.stderr
    assert "no-such-bucket" in failed.stderr
    with sqlite3.connect(tmp_path / "store/prefect/prefect.db") as database:
        assert "COMPLETED" in {state for (state,) in database.execute("select state_type from flow_run")}
        assert database.execute("select count(*) from artifact").fetchone()[0] > 0
    assert list((tmp_path / "store").rglob("report.html"))
    for value in planted.values():
        shown = (value, quote(value, safe=""), json.dumps(value)[1:-1])
        assert not [text for text in shown for said in (done, failed) if text in said.stdout + said.stderr]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files for text in shown if text.encode() in path.read_bytes()]


def test_s3_without_credentials(s3, files, monkeypatch, tmp_path: Path) -> None:
    url, _ = s3
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connections._systems.values.clear()
    from botocore.exceptions import NoCredentialsError

    asked = []

    def ask() -> None:
        asked.append(1)
        raise NoCredentialsError

    with pytest.raises(OSError, match=r"no credentials are configured .--rule anonymous=yes"):
        connections.patiently(ask)
    assert len(asked) == 1
    assert_same(open_source("s3://scans/deep/set", SourceOptions(rules=(f"endpoint={url}", "anonymous=yes"))), files)
    with pytest.raises(DatapropsError, match="'anonymous' is 'maybe'; expected no, yes"):
        open_source("s3://scans/deep/set", SourceOptions(rules=(f"endpoint={url}", "anonymous=maybe"))).scan()


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args) -> None:
        pass


def test_denied_access_is_told(credentials) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        rules = (f"endpoint=http://127.0.0.1:{server.server_port}",)
        with pytest.raises(DatapropsError, match="access is denied"):
            open_source("s3://scans/deep", SourceOptions(rules=rules))
    finally:
        server.shutdown()
        server.server_close()


# Google Cloud Storage


@pytest.fixture(scope="module")
def gs(files) -> Iterator[str]:
    """A server that speaks Google's JSON interface, with the files in a bucket; its address."""
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    gcsfs = pytest.importorskip("gcsfs")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="scans")
    server.start()
    url = "http://{}:{}".format(*server._api._httpd.server_address)
    system = gcsfs.core.GCSFileSystem(token="anon", endpoint_url=url, skip_instance_cache=True)
    for key, data in files.items():
        system.pipe_file(f"scans/deep/set/{key}", data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, data in files.items():
            archive.writestr(key, data)
    system.pipe_file("scans/set.zip", buffer.getvalue())
    rows = "".join(f"gs://scans/deep/set/{key},{key.split('/')[0]}\n" for key in images_of(files))
    system.pipe_file("scans/list.csv", f"path,label\n{rows}".encode())
    yield url
    server.stop()


def test_gs_folders_containers_and_manifests(gs, files, monkeypatch, tmp_path: Path) -> None:
    rules = (f"endpoint={gs}", "anonymous=yes")
    options = SourceOptions(rules=rules)
    for name in ("deep/set", "set.zip"):
        assert_same(open_source(f"gs://scans/{name}", options), files)
    source = open_source("gs://scans/list.csv", options)
    assert [source.read(key) for key in source.scan()["key"]] == list(images_of(files).values())
    with pytest.raises(DatapropsError, match="nothing is there"):
        open_source("gs://scans/other.zip", options).scan()
    first = looked("gs://scans/deep/set", tmp_path / "store", rules=rules)
    assert first["error"].isna().all()
    read = []
    original = filesystems.read_bytes
    monkeypatch.setattr(filesystems, "read_bytes", lambda *place: read.append(place[0]) or original(*place))
    looked("gs://scans/deep/set", tmp_path / "store", rules=rules)
    assert read == []  # what the listing tells of each object is enough


def test_an_audit_of_gs_equals_that_of_the_folder(gs, files, tmp_path: Path) -> None:
    here = audit(unpacked(tmp_path / "here", files), store=str(tmp_path / "store"), **QUICK)
    rules = (f"endpoint={gs}", "anonymous=yes")
    there = audit("gs://scans/deep/set", store=str(tmp_path / "store"), rules=rules, **QUICK)
    assert {key: there[key] for key in MEASURED} == {key: here[key] for key in MEASURED}
