"""The routes of the Hub that clients use to publish, list and fetch models."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_standin.repositories import ROLES, Repository, StoredFile, is_large
from tests.hub_standin.xet_store import XetStore

_NO_EXPIRY = 2**32


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str | None, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


class Hub:
    """The state of the stand-in, and how it answers."""

    def __init__(self, xet: XetStore) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.xet = xet
        # Large files lie on another host, as the Hub's do: the same server under its other name.
        self.endpoint = self.blob_endpoint = ""

    def application(self) -> Starlette:
        repository, revision = "{organization}/{name}", "{revision:path}"
        api = f"/api/models/{repository}"
        routes = [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/validate-yaml", self.validate_yaml, methods=["POST"]),
            Route("/api/models", self.list_models),
            Route(f"{api}/preupload/{revision}", self.preupload, methods=["POST"]),
            Route(f"{api}/commit/{revision}", self.commit, methods=["POST"]),
            Route(f"{api}/tree/{revision}", self.tree),
            Route(f"{api}/paths-info/{revision}", self.paths_info, methods=["POST"]),
            Route(f"{api}/revision/{revision}", self.info),
            Route(f"{api}/xet-{{kind}}-token/{revision}", self.xet_token),
            Route(api, self.info),
            Route(f"/{repository}.git/info/lfs/objects/batch", self.lfs_batch, methods=["POST"]),
            Route("/lfs/{oid}", self.lfs_upload, methods=["PUT"]),
            Route("/lfs/{oid}", self.lfs_download),
            Route("/lfs/{oid}/verify", self.lfs_verify, methods=["POST"]),
            Route(f"/{repository}/resolve/{{rest:path}}", self.resolve),
        ]
        routes += [
            Route(f"/api/datasets/{repository}/tree/{{rest:path}}", self.folder),
            Route(f"/api/datasets/{repository}/revision/{revision}", self.info),
            Route(f"/datasets/{repository}/resolve/{{rest:path}}", self.resolve),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: _refuse})

    # Who asks, and for what.

    def role(self, request: Request) -> str | None:
        header = request.headers.get("authorization")
        if header is None:
            return None
        role = ROLES.get(header.removeprefix("Bearer "))
        if role is None:
            raise RefusedError(401, None, "Invalid credentials in Authorization header")
        return role

    def repository(self, request: Request, *, write: bool = False) -> Repository:
        role = self.role(request)
        kind = "datasets/" if request.url.path.startswith(("/datasets/", "/api/datasets/")) else ""
        name = f"{kind}{request.path_params['organization']}/{request.path_params['name']}"
        repository = self.repositories.get(name)
        if repository is None or (repository.private and role is None):
            raise RefusedError(404 if role else 401, "RepoNotFound", "Repository not found")
        if write and role != "write":
            raise RefusedError(403 if role else 401, None, "You don't have the rights to write here")
        return repository

    def revision(self, repository: Repository, revision: str) -> str:
        oid = repository.resolve(unquote(revision))
        if oid is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    # The interface to repositories.

    async def whoami(self, request: Request) -> Response:
        if self.role(request) is None:
            raise RefusedError(401, None, "Invalid username or password.")
        return JSONResponse({"type": "user", "name": "standin", "orgs": []})

    async def create(self, request: Request) -> Response:
        if self.role(request) != "write":
            raise RefusedError(403 if self.role(request) else 401, None, "You don't have the rights to create models")
        wanted = await request.json()
        name = f"{wanted['organization']}/{wanted['name']}"
        existed = name in self.repositories
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.repositories.setdefault(name, Repository(name, private))
        answer = {"url": f"{self.endpoint}/{name}", "name": name, "id": name}
        return JSONResponse(answer, 409 if existed else 200)

    async def validate_yaml(self, request: Request) -> Response:
        content = (await request.json())["content"]
        valid = content.startswith("---\n") and "\n---\n" in content
        errors = [] if valid else [{"message": "no metadata"}]
        return JSONResponse({"errors": errors, "warnings": []}, 200 if valid else 400)

    async def list_models(self, request: Request) -> Response:
        role = self.role(request)
        words, tags = request.query_params.get("search", ""), request.query_params.getlist("filter")
        found = [
            self._info(repository, repository.refs["main"])
            for repository in self.repositories.values()
            if words.lower() in repository.name.lower() and (role or not repository.private)
        ]
        return JSONResponse([model for model in found if set(tags) <= set(model["tags"])])

    async def info(self, request: Request) -> Response:
        repository = self.repository(request)
        oid = self.revision(repository, request.path_params.get("revision", "main"))
        return JSONResponse(self._info(repository, oid))

    def _info(self, repository: Repository, oid: str) -> dict[str, Any]:
        import yaml

        files = repository.commits[oid]
        card = files["README.md"].content.decode() if "README.md" in files else "---\n{}\n---\n"
        metadata = yaml.safe_load(card.split("---\n")[1])
        return {
            "_id": oid[:24],
            "id": repository.name,
            "modelId": repository.name,
            "sha": oid,
            "private": repository.private,
            "gated": repository.gated,
            "downloads": 0,
            "likes": 0,
            "lastModified": "2026-11-01T00:00:00.000Z",
            "createdAt": "2026-11-01T00:00:00.000Z",
            "tags": metadata.get("tags", []),
            "pipeline_tag": metadata.get("pipeline_tag"),
            "library_name": metadata.get("library_name"),
            "siblings": [
                {
                    "rfilename": path,
                    "size": len(file.content),
                    "blobId": file.oid,
                    "lfs": {"sha256": file.sha256, "size": len(file.content), "pointerSize": 0} if file.lfs else None,
                }
                for path, file in sorted(files.items())
            ],
        }

    async def tree(self, request: Request) -> Response:
        return JSONResponse(self._rows(request))

    async def paths_info(self, request: Request) -> Response:
        body = (await request.body()).decode()
        wanted = json.loads(body) if body.startswith("{") else parse_qs(body)
        return JSONResponse([row for row in self._rows(request) if row["path"] in wanted["paths"]])

    async def folder(self, request: Request) -> Response:
        revision, path = _split(self.repository(request), request.path_params["rest"])
        return JSONResponse([row for row in self._rows(request, revision) if Path(row["path"]).parent == Path(path)])

    def _rows(self, request: Request, revision: str | None = None) -> list[dict[str, Any]]:
        repository = self.repository(request)
        oid = self.revision(repository, revision or request.path_params["revision"])
        rows: list[dict[str, Any]] = []
        for path, file in sorted(repository.commits[oid].items()):
            row: dict[str, Any] = {"type": "file", "path": path, "oid": file.oid, "size": len(file.content)}
            if file.lfs:
                row["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
            if file.xet:
                row["xetHash"] = file.xet
            rows.append(row)
        return rows

    # Uploads.

    async def preupload(self, request: Request) -> Response:
        repository = self.repository(request, write=True)
        head = repository.commits[self.revision(repository, request.path_params["revision"])]
        answers = []
        for file in (await request.json())["files"]:
            mode = "lfs" if is_large(file["path"]) else "regular"
            old = head.get(file["path"])
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": old and old.etag})
        return JSONResponse({"files": answers})

    async def lfs_batch(self, request: Request) -> Response:
        self.repository(request, write=True)
        objects: list[dict[str, Any]] = []
        for wanted in (await request.json())["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.blobs:
                answer["actions"] = {
                    "upload": {"href": f"{self.blob_endpoint}/lfs/{wanted['oid']}"},
                    "verify": {"href": f"{self.endpoint}/lfs/{wanted['oid']}/verify"},
                }
            objects.append(answer)
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_upload(self, request: Request) -> Response:
        content = await request.body()
        file = StoredFile(content, lfs=True)
        if file.sha256 != request.path_params["oid"]:
            raise RefusedError(400, None, "The bytes do not match their name")
        self.blobs[file.sha256] = content
        return Response(headers={"ETag": f'"{file.sha256}"'})

    async def lfs_verify(self, request: Request) -> Response:
        wanted = await request.json()
        good = len(self.blobs.get(wanted["oid"], b"")) == wanted["size"]
        return JSONResponse({}, 200 if good else 404)

    async def xet_token(self, request: Request) -> Response:
        repository = self.repository(request, write=request.path_params["kind"] == "write")
        self.revision(repository, request.path_params["revision"].removesuffix("None") or "main")
        answer = {"accessToken": "xet", "exp": _NO_EXPIRY, "casUrl": self.xet.url}
        headers = {
            "X-Xet-Cas-Url": self.xet.url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(_NO_EXPIRY),
        }
        return JSONResponse(answer, headers=headers)

    async def commit(self, request: Request) -> Response:
        repository = self.repository(request, write=True)
        parent = self.revision(repository, request.path_params["revision"])
        files = dict(repository.commits[parent])
        for line in (await request.body()).splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header" and value.get("parentCommit") not in (None, parent):
                raise RefusedError(412, None, "A commit has happened since. Please refresh and try again.")
            if operation["key"] == "file":
                files[value["path"]] = StoredFile(base64.b64decode(value["content"]), lfs=False)
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self._large_file(value["oid"], value["size"])
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        ref = unquote(request.path_params["revision"])
        answer: dict[str, Any] = {"success": True}
        if request.query_params.get("create_pr"):
            number = 1 + sum(name.startswith("refs/pr/") for name in repository.refs)
            ref = f"refs/pr/{number}"
            answer["pullRequestUrl"] = f"{self.endpoint}/{repository.name}/discussions/{number}"
        oid = repository.commit(files, ref)
        url = f"{self.endpoint}/{repository.name}/commit/{oid}"
        return JSONResponse({**answer, "commitUrl": url, "commitOid": oid, "hookOutput": ""})

    def _large_file(self, sha256: str, size: int) -> StoredFile:
        content = self.blobs.get(sha256) or self.xet.read(sha256, size)
        if content is None:
            raise RefusedError(400, None, f"The large file {sha256} was never uploaded")
        self.blobs[sha256] = content
        return StoredFile(content, lfs=True, xet=self.xet.hashes().get(sha256))

    # Downloads.

    async def resolve(self, request: Request) -> Response:
        repository = self.repository(request)
        if repository.gated:
            raise RefusedError(403, "GatedRepo", "Access to this model is restricted")
        revision, path = _split(repository, request.path_params["rest"])
        oid = self.revision(repository, revision)
        file = repository.commits[oid].get(path)
        if file is None:
            raise RefusedError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": oid})
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.etag}"'}
        if not file.lfs:
            return _ranged(request, file.content, headers)
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        if file.xet:
            auth = f"{self.endpoint}/api/models/{repository.name}/xet-read-token/{oid}"
            headers |= {"X-Xet-Hash": file.xet, "Link": f'<{auth}>; rel="xet-auth"'}
        self.blobs[file.sha256] = file.content
        headers["Location"] = f"{self.blob_endpoint}/lfs/{file.sha256}"
        return Response(status_code=302, headers=headers)

    async def lfs_download(self, request: Request) -> Response:
        if "authorization" in request.headers:
            raise RefusedError(400, None, "The token went to another host")
        oid = request.path_params["oid"]
        return _ranged(request, self.blobs[oid], {"ETag": f'"{oid}"'})


def _split(repository: Repository, rest: str) -> tuple[str, str]:
    """Separates revision and path; the revision of a pull request has slashes of its own."""
    for ref in repository.refs:
        if rest.startswith(f"{ref}/"):
            return ref, rest.removeprefix(f"{ref}/")
    revision, _, path = rest.partition("/")
    return revision, path


def _ranged(request: Request, content: bytes, headers: dict[str, str]) -> Response:
    size, wanted = len(content), request.headers.get("range")
    if wanted is None:
        return Response(content, headers={**headers, "Accept-Ranges": "bytes"})
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    begin, end = int(first), min(int(last) + 1 if last else size, size)
    headers = {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{size}"}
    return Response(content[begin:end], 206, headers)


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, RefusedError)
    return JSONResponse({"error": str(refusal)}, refusal.status, refusal.headers)
