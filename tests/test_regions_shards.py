"""Shard indexes: what they name, and what they must not name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netweight.errors import FormatError, NotFoundError
from netweight.weights.regions import shards


def index(folder: Path, *names: object, file: str = "model.safetensors.index.json") -> Path:
    path = folder / file
    path.write_text(json.dumps({"metadata": {}, "weight_map": {f"t{k}": name for k, name in enumerate(names)}}))
    return path


@pytest.mark.parametrize("file", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_shards_are_found_once_and_in_order(tmp_path: Path, file: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.safetensors", "a.safetensors", "sub/c.safetensors"):
        (tmp_path / name).touch()
    path = index(tmp_path, "b.safetensors", "a.safetensors", "b.safetensors", "sub/c.safetensors", file=file)
    expected = [tmp_path / n for n in ("a.safetensors", "b.safetensors", "sub/c.safetensors")]
    assert shards(path) == expected
    assert shards(str(path)) == expected


def test_other_files_have_no_shards(tmp_path: Path) -> None:
    assert shards(tmp_path / "model.safetensors") is None
    assert shards(tmp_path / "config.json") is None


@pytest.mark.parametrize(
    "name",
    [
        "../x.safetensors",
        "/etc/passwd",
        "sub/../../x",
        "..",
        ".",
        "",
        "a\\..\\x",
        "C:x",
        "a\0b",
        "a\nb",
        "folder",
        "x" * 5000,
    ],
)
def test_names_that_leave_the_folder_are_refused_by_entry(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "x.safetensors").touch()
    (tmp_path / "x").touch()
    (folder / "ok").touch()
    with pytest.raises(FormatError, match="entry 't1'"):
        shards(index(folder, "ok", name))


def test_links(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").touch()
    (folder / "real").touch()
    (folder / "inside").symlink_to("real")
    (folder / "outside").symlink_to("../secret")
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    assert shards(index(folder, "inside")) == [folder / "inside"]
    for name in ("outside", "up/secret", "loop"):
        with pytest.raises(FormatError, match="entry 't0'"):
            shards(index(folder, name))


def test_a_hub_cache_links_to_its_blobs(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--x" / "blobs").mkdir()
    (tmp_path / "models--x" / "blobs" / "0f").touch()
    (snapshot / "a.safetensors").symlink_to("../../blobs/0f")
    assert shards(index(snapshot, "a.safetensors")) == [snapshot / "a.safetensors"]


def test_missing_shards_and_indexes(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.safetensors"):
        shards(index(tmp_path, "gone.safetensors"))
    with pytest.raises(NotFoundError):
        shards(tmp_path / "none.index.json")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', "[" * 100_000, "1" * 5000, "\xff"],
)
def test_indexes_that_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(FormatError, match="index"):
        shards(path)
