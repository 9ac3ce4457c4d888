"""A plain client of a sandbox cluster: the tests look with other eyes than the agent's."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One API server, as its administrator."""

    host: str
    port: int
    context: ssl.SSLContext

    @classmethod
    def of(cls, kubeconfig: Path) -> Cluster:
        """Read the one cluster and the one user of a kubeconfig."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "crt"), Path(folder, "key")
            certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
            key.write_bytes(base64.b64decode(user["client-key-data"]))
            context.load_cert_chain(certificate, key)
        url = urlsplit(cluster["server"])
        return cls(host=url.hostname or "", port=url.port or 443, context=context)

    def request(self, method: str, path: str, body: Any = None, kind: str = "") -> tuple[int, Any]:
        """Call the API server once; status and answer."""
        connection = http.client.HTTPSConnection(
            self.host, self.port, context=self.context, timeout=30
        )
        try:
            headers = {"Content-Type": kind or "application/json"}
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, body=payload, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Read one object or list; ``None`` where it does not exist."""
        status, answer = self.request("GET", path)
        if status == 404:
            return None
        assert status == 200, answer
        return answer

    def merge(self, path: str, body: Any) -> Any:
        """Change an object by hand."""
        status, answer = self.request("PATCH", path, body, "application/merge-patch+json")
        assert status == 200, answer
        return answer

    def delete(self, path: str) -> None:
        """Delete an object by hand."""
        status, answer = self.request("DELETE", path)
        assert status in {200, 202}, answer

    @contextmanager
    def watch(self, path: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Watch a list from now on: events as they come."""
        version = self.get(path)["metadata"]["resourceVersion"]
        connection = http.client.HTTPSConnection(
            self.host, self.port, context=self.context, timeout=60
        )
        connection.request("GET", f"{path}?watch=1&resourceVersion={version}")
        answer = connection.getresponse()

        def events() -> Iterator[dict[str, Any]]:
            while line := answer.readline():
                yield json.loads(line)

        try:
            yield events()
        finally:
            connection.close()

    def until(self, path: str, fact: Any, *, patience: float) -> float:
        """Wait until *fact* holds for the object, looking every 5 ms; the seconds it took."""
        began = time.monotonic()
        while True:
            if fact(self.get(path)):
                return time.monotonic() - began
            assert time.monotonic() - began < patience, f"{path}: not within {patience} s"
            time.sleep(0.005)
