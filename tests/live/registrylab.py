# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback, of a layout's blobs; as honest as a test wants it."""
import base64
import http.server
import json
import threading


class Registry:
    """Serves what lies in layout.path; tags name digests. user: "NAME:WORD" that has to be told."""

    def __init__(self, layout, tags, user=None):
        self.layout, self.tags, self.user = layout, dict(tags), user
        self.asked = []
        self.instead = {}   # digest: other bytes
        self.elsewhere = None  # blobs are said to be at this HOST:PORT
        self.stall = threading.Event()  # set: answers wait no longer
        self.stall.set()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, code, data=b"", kind="application/json", **headers):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def do_GET(self):
                registry.asked.append(self.path)
                registry.stall.wait(30)
                if registry.user and self.headers.get("Authorization") != "Basic " + base64.b64encode(
                        registry.user.encode()).decode():
                    return self.answer(401, WWW_Authenticate='Basic realm="here"')
                parts = self.path.strip("/").split("/")
                if parts == ["v2"]:
                    return self.answer(200, b"{}")
                kind, what = parts[-2:]
                name = registry.tags.get(what, what)
                if kind == "blobs" and registry.elsewhere:
                    return self.answer(307, Location=f"http://{registry.elsewhere}{self.path}")
                blob = registry.layout.path / "blobs/sha256" / name[7:]
                if not name.startswith("sha256:") or not blob.is_file():
                    return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
                data = registry.instead.get(name, blob.read_bytes())
                media = "application/octet-stream"
                if kind == "manifests":
                    media = json.loads(blob.read_bytes()).get("mediaType", media)
                return self.answer(200, data, media, Docker_Content_Digest=name)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = "127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stall.set()
        self.server.shutdown()
        self.server.server_close()
