"""Renders the part of kustomize that deploy/kubernetes/ uses, and refuses every other part.

kustomize itself is a program that not every machine has. Where one is, a test compares the two.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Final, cast

import yaml

from service.core.wire import Json

__all__ = ["Manifest", "parsed", "real_kustomize", "render"]

Manifest = dict[str, Json]

KNOWN: Final = frozenset({"apiVersion", "kind", "resources", "namespace", "images", "patches"})
MERGED_BY_NAME: Final = frozenset({"containers", "env", "volumes"})
"""Lists that a strategic merge joins by the names of their items."""

MERGED_OTHERWISE: Final = frozenset({"ports", "volumeMounts", "tolerations", "topologySpread"})
"""Lists that a strategic merge joins by something else: not rendered here."""


def render(folder: Path) -> list[Manifest]:
    """Return the manifests of a kustomization."""
    [plan] = parsed(folder / "kustomization.yaml")
    if unknown := plan.keys() - KNOWN:
        raise NotImplementedError(f"{folder}: {', '.join(sorted(unknown))}")
    found = [each for name in _list(plan, "resources") for each in _resource(folder / str(name))]
    for patch in _list(plan, "patches"):
        [change] = parsed(folder / str(_only(patch, "path")["path"]))
        [at] = [at for at, each in enumerate(found) if _identity(each) == _identity(change)]
        found[at] = _map(_merged("", found[at], change))
    for manifest in found:
        for image in _list(plan, "images"):
            _set_image(manifest, _only(image, "name", "newName", "newTag"))
        if "namespace" in plan and manifest["kind"] != "Namespace":
            _map(manifest["metadata"])["namespace"] = plan["namespace"]
    return found


def real_kustomize(folder: Path) -> list[Manifest] | None:
    """Return what kustomize makes of a folder; None where there is no kustomize."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if which(command[0]):
            done = subprocess.run([*command, str(folder)], check=True, capture_output=True)
            return _manifests(done.stdout)
    return None


def parsed(file: Path) -> list[Manifest]:
    """Return the documents of a YAML file."""
    return _manifests(file.read_bytes())


def _manifests(text: bytes) -> list[Manifest]:
    return [_map(cast("Json", each)) for each in yaml.safe_load_all(text)]


def _resource(path: Path) -> list[Manifest]:
    return render(path) if path.is_dir() else parsed(path)


def _identity(manifest: Manifest) -> tuple[Json, Json, Json]:
    return manifest["apiVersion"], manifest["kind"], _map(manifest["metadata"])["name"]


def _merged(name: str, old: Json, new: Json) -> Json:
    """Merge as https://kubernetes.io/docs/tasks/manage-kubernetes-objects/ describes."""
    if isinstance(old, dict) and isinstance(new, dict):
        if None in new.values() or "$patch" in new:
            raise NotImplementedError(f"{name}: a patch that removes")
        return {**old, **{key: _merged(key, old.get(key), new[key]) for key in new}}
    if isinstance(old, list) and isinstance(new, list):
        if name in MERGED_OTHERWISE:
            raise NotImplementedError(f"{name}: a patch of this list")
        if name in MERGED_BY_NAME:
            named = {str(_map(each)["name"]): each for each in old}
            for each in new:
                key = str(_map(each)["name"])
                named[key] = _merged("", named.get(key), each)
            return list(named.values())
    return new


def _set_image(node: Json, image: Mapping[str, Json]) -> None:
    if isinstance(node, list):
        for each in node:
            _set_image(each, image)
    elif isinstance(node, dict):
        if node.get("image") == image["name"]:
            node["image"] = f"{image['newName']}:{image['newTag']}"
        for each in node.values():
            _set_image(each, image)


def _list(node: Manifest, key: str) -> list[Json]:
    found = node.get(key, [])
    assert isinstance(found, list)
    return found


def _map(node: Json) -> Manifest:
    assert isinstance(node, dict)
    return node


def _only(node: Json, *keys: str) -> Manifest:
    found = _map(node)
    if found.keys() != set(keys):
        raise NotImplementedError(f"{', '.join(found)} instead of {', '.join(keys)}")
    return found
