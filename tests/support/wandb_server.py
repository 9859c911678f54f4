"""A W&B server on the loopback: what `wandb` needs to start, resume and finish a run online, kept in memory.

It keeps what it is sent and tells it back when a run is resumed, as the real one does: the summary, how many lines of
history it has, and the last of them. Lines are stored at the offset that the client names. An artifact is made, then
its manifest, then its files are uploaded, and it is committed when it is whole.
"""

import gzip
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40
ENTITY = "someone"


@dataclass
class Artifact:
    """A version of an artifact."""

    run: str
    name: str
    type: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False


@dataclass
class Stored:
    """One run as the server knows it."""

    config: str = "{}"
    name: str | None = None
    notes: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    files: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    uploaded: list[str] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    inserted: int = 0
    resumed: int = 0

    def lines(self, name: str) -> list[str]:
        """The lines of a streamed file, in order."""
        return [line for _, line in sorted(self.files[name].items())]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that the run has logged."""
        return [json.loads(line) for line in self.lines("wandb-history.jsonl")]

    @property
    def summary(self) -> dict[str, Any]:
        """The newest summary."""
        return json.loads((self.lines("wandb-summary.json") or ["{}"])[-1])


class Server(ThreadingHTTPServer):
    """The runs by id, and the operations that were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, Stored] = {}
        self.artifacts: list[Artifact] = []
        self.unknown: list[str] = []
        self.lock = threading.Lock()

    @property
    def variables(self) -> dict[str, str]:
        """The environment that sends a run here."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online", "WANDB_ENTITY": ENTITY}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data of a GraphQL operation; None for one that is not known here."""
        entity = {"id": "entity", "name": ENTITY}
        if operation == "Viewer":
            return {
                "viewer": {"id": "user", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}
            }
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "OrganizationCoreWeaveOrganizationID":
            return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}
        if operation == "RunResumeStatus":
            return {
                "model": {"id": "m", "name": given["project"], "entity": entity, "bucket": self._known(given["name"])}
            }
        if operation == "UpsertBucket":
            return {"upsertBucket": self._upsert(given, entity)}
        if operation == "CreateRunFiles":
            urls = [{"name": name, "uploadUrl": f"/upload/{given['run']}/{name}"} for name in given["files"]]
            for item in urls:
                item["uploadUrl"] = f"http://127.0.0.1:{self.server_port}{item['uploadUrl']}"
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": urls}}
        return self._answer_of_artifacts(operation, given)

    def _answer_of_artifacts(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """An artifact's id is its place in the list."""
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "CreateArtifact":
            sent = given["input"]
            aliases = [alias["alias"] for alias in sent["aliases"]]
            told = json.loads(sent["metadata"] or "{}")
            name, kind = sent["artifactCollectionName"], sent["artifactTypeName"]
            self.artifacts.append(Artifact(sent["runName"], name, kind, aliases, told))
            made = {"id": str(len(self.artifacts) - 1), "state": "PENDING"}
            return {"createArtifact": {"artifact": made | {"artifactSequence": {"latestArtifact": None}}}}
        if operation == "CreateArtifactManifest":
            number = given["artifactID"]
            file = {"id": number, "uploadUrl": self._place(number, "wandb_manifest.json"), "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": number, "file": file}}}
        if operation == "CreateArtifactFiles":
            nodes = [
                {
                    "storagePath": each["name"],
                    "uploadUrl": self._place(each["artifactID"], each["name"]),
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": each["artifactID"]},
                }
                for each in given["input"]["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        if operation == "CommitArtifact":
            self.artifacts[int(given["artifactID"])].committed = True
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "digest"}}}
        return None

    def _place(self, artifact: str, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/artifact/{artifact}/{name}"

    def _known(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        run.resumed += 1
        history, events = run.lines("wandb-history.jsonl"), run.lines("wandb-events.jsonl")
        return {
            "id": name,
            "name": name,
            "displayName": run.name or name,
            "summaryMetrics": json.dumps(run.summary),
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "logLineCount": 0,
            "historyTail": json.dumps(history[-1:]),
            "eventsTail": json.dumps(events[-1:]),
            "config": run.config,
            "tags": run.tags,
            "notes": run.notes or "",
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _upsert(self, given: dict[str, Any], entity: dict[str, str]) -> dict[str, Any]:
        name = given.get("name") or given["id"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, Stored())
        run.inserted += inserted
        run.config = given.get("config") or run.config
        run.tags = given.get("tags") or run.tags
        run.name, run.notes = given.get("displayName") or run.name, given.get("notes") or run.notes
        run.group = given.get("groupName") or run.group
        project = {"id": "m", "name": given.get("project") or "vaex", "entity": entity}
        bucket = {"id": name, "name": name, "displayName": run.name or name, "config": run.config, "project": project}
        return {"bucket": bucket | {"historyLineCount": len(run.lines("wandb-history.jsonl"))}, "inserted": inserted}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Take in a piece of a run's streamed files, or its end."""
        run = self.runs.setdefault(name, Stored())
        for file, chunk in (sent.get("files") or {}).items():
            run.files[file].update(enumerate(chunk["content"], chunk["offset"]))
        run.uploaded += sent.get("uploaded") or []
        if sent.get("complete"):
            run.exit_codes.append(sent["exitcode"])


class Handler(BaseHTTPRequestHandler):
    """POST /graphql, POST /files/<entity>/<project>/<run>/file_stream, PUT /upload/<run>/<file> and /artifact/…."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body, answer = self._body(), {}
        with self.server.lock:
            if self.path == "/graphql":
                answer = self._graphql(json.loads(body))
            elif self.path.endswith("/file_stream"):
                self.server.stream(self.path.split("/")[-2], json.loads(body))
                answer = {"exitcode": None, "limits": {}}
        self._reply(json.dumps(answer).encode())  # also to what W&B sends about itself

    def _graphql(self, sent: dict[str, Any]) -> dict[str, Any]:
        operation = sent.get("operationName") or sent["query"].split(maxsplit=2)[1].partition("(")[0]
        data = self.server.answer(operation, sent.get("variables") or {})
        if data is None:
            self.server.unknown.append(operation)
        return {"data": data} if data else {"errors": [{"message": "unknown operation"}]}

    def do_PUT(self) -> None:
        content = self._body()
        _, kind, owner, name = self.path.split("/", 3)
        with self.server.lock:
            if kind == "artifact":
                self.server.artifacts[int(owner)].files[name] = content
            else:
                self.server.runs[owner].uploaded.append(name)
        self._reply(b"")

    def do_GET(self) -> None:
        self._reply(b"{}")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server while a test needs it."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
