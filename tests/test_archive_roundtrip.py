"""What goes in comes out, bit for bit, as files and as tensors, however it is asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netweight as nw
from attacks_archive import (
    SPECIAL_F32,
    archive_of,
    base_and_tuned,
    bell,
    decode_all,
    mixed,
    raw_safetensors,
    samples,
    sharded,
    write_sample,
)  # fmt: skip
from attacks_blocks import efforts
from attacks_regions import safetensors_file, tensor, text, torch_zip
from netweight.errors import BaseMismatchError, FormatError, InputError, NotFoundError, UnsupportedError
from netweight.spec import DTYPES, Spec, byte_count
from netweight.tensors import numpy_dtype
from netweight.weights.archive import compress_file, decompress_file, load_file, verify_file
from netweight.weights.archive import open as open_archive

SAMPLES = samples()


def tree(path: Path) -> dict[str, str]:
    """Content of a file or folder as hashes."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("effort", efforts())
@pytest.mark.parametrize("kind", SAMPLES)
def test_files_come_back(kind: str, effort: str, tmp_path: Path) -> None:
    source, base = write_sample(SAMPLES[kind], tmp_path)
    before = tree(source)
    archives = set()
    for threads in (1, 2, 5):
        archive = tmp_path / f"{threads}.nw"
        receipt = compress_file(source, archive, effort=effort, base=base, threads=threads)
        archives.add(archive.read_bytes())
        assert receipt.archive_bytes == archive.stat().st_size
        assert receipt.original_bytes == sum(len(c) for c in SAMPLES[kind].files.values())
        assert receipt.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
        verify_file(archive, against=source, base=base, threads=threads)
        back = decompress_file(archive, tmp_path / f"out{threads}", base=base, threads=threads)
        assert (back.files, back.tensors, back.elements) == (receipt.files, receipt.tensors, receipt.elements)
        assert tree(tmp_path / f"out{threads}") == before
    assert len(archives) == 1, "the archive doesn't depend on the number of threads"
    assert tree(source) == before


def test_every_dtype_keeps_its_bits(tmp_path: Path) -> None:
    entries, random = {}, np.random.default_rng(1)
    for name in DTYPES:
        if not name.endswith(("FNUZ", "C128")):
            for k, shape in enumerate(((6, 8), (), (5,), (0,), (2, 0, 3))):
                if byte_count(name, shape) * 8 == int(np.prod(shape)) * DTYPES[name].bits:
                    entries[f"{name}{k}"] = (name, shape, random.bytes(byte_count(name, shape)))
    entries["special"] = ("F32", (8,), np.array(SPECIAL_F32, np.uint32).tobytes())
    (tmp_path / "x.safetensors").write_bytes(raw_safetensors(entries))
    receipt = compress_file(tmp_path / "x.safetensors")
    assert not receipt.problems
    with open_archive(receipt.archive) as archive:
        assert set(archive.keys()) == set(entries)
        for name, (dtype, shape, content) in entries.items():
            array = archive.tensor(name)
            assert array.tobytes() == content
            assert array.dtype == numpy_dtype(dtype)
            assert array.flags.writeable
            if DTYPES[dtype].kind != "packed":
                assert array.shape == shape
    decompress_file(receipt.archive, tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x.safetensors").read_bytes()


def test_rows_are_slices(tmp_path: Path) -> None:
    weights = bell(1, 700_000).reshape(7, 100_000)
    entries = {
        "w": ("F32", (7, 100_000), weights.tobytes()),
        "f4": ("F4", (4, 6), bytes(range(12))),
        "odd": ("F4", (4, 3), bytes(6)),
        "scalar": ("F32", (), bytes(4)),
        "none": ("F32", (0, 2), b""),
    }
    (tmp_path / "x").write_bytes(raw_safetensors(entries))
    with open_archive(compress_file(tmp_path / "x").archive) as archive:
        for a, b in ((0, 7), (2, 5), (6, 7), (3, 3)):
            assert np.array_equal(archive.rows("w", a, b), weights[a:b])
        assert archive.rows("f4", 1, 3).tobytes() == bytes(range(3, 9))
        assert archive.rows("none", 0, 0).shape == (0, 2)
        with pytest.raises(UnsupportedError, match="odd"):
            archive.rows("odd", 0, 1)
        for name, a, b in (("w", 0, 8), ("w", -1, 2), ("w", 3, 2), ("scalar", 0, 0)):
            with pytest.raises(NotFoundError):
                archive.rows(name, a, b)
        with pytest.raises(NotFoundError, match="no tensor 'v'"):
            archive.tensor("v")


def test_rows_of_quantised_blocks(tmp_path: Path) -> None:
    blob, _ = archive_of(SAMPLES["gguf"], tmp_path)
    with nw.open(blob) as archive:
        assert archive.tensor("blk").shape == (8, 40)
        assert np.array_equal(archive.rows("blk", 2, 5), archive.tensor("blk")[2:5])
        assert archive.rows("blk", 3, 3).shape == (0, 40)


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(40_000)
    one = {"a": ("U8", (40_000,), content)}
    (tmp_path / "one").write_bytes(raw_safetensors(one))
    (tmp_path / "many").write_bytes(raw_safetensors(one | dict.fromkeys("bcdef", ("F32", (100, 100), content))))
    (tmp_path / "near").write_bytes(raw_safetensors(one | {"b": ("U8", (40_000,), b"x" + content[1:])}))
    sizes = {n: compress_file(tmp_path / n).archive_bytes for n in ("one", "many", "near")}
    assert sizes["many"] < sizes["one"] + 200
    for name in sizes:
        verify_file(tmp_path / f"{name}.nw", against=tmp_path / name)


def test_views_share_a_storage(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(SAMPLES["torch"].files[""])
    state = load_file(compress_file(tmp_path / "x.pt").archive)
    assert np.array_equal(state["a"], bell(6, 12).reshape(3, 4))
    assert np.array_equal(state["b"], bell(6, 12)[6:].reshape(2, 3))
    assert state["c"].dtype == np.float16


@pytest.mark.parametrize("size", [(1 << 63) - 1, 1 << 100, -1])
def test_absurd_views_leave_the_file_readable(size: int, tmp_path: Path) -> None:
    """Such a file is one gap, or its tensors are right; it comes back in any case."""
    hooks = b"ccollections\nOrderedDict\n)R"
    number = b"\x8a\x10" + size.to_bytes(16, "little", signed=True)
    one = b"K\x01"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x0ctQ"
    for sizes, strides in ((b"(" + one + b"K\x03t", b"(" + number + one + b"t"), (b"(" + number + b"t", b"(K\x00t")):
        call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + sizes + strides + b"\x89" + hooks + b"tR"
        pickle = b"\x80\x02}(" + text("a") + call + text("b") + tensor("0", 12, (12,)) + b"u."
        (tmp_path / "x.pt").write_bytes(torch_zip(pickle, {"0": bell(1, 12).tobytes()}))
        receipt = compress_file(tmp_path / "x.pt", force=True)
        verify_file(receipt.archive, against=tmp_path / "x.pt")


def test_a_base(tmp_path: Path) -> None:
    base, tuned = base_and_tuned()
    for name, content in (
        ("base", base),
        ("moved/copy", base),
        ("other", base[:-1] + b"x"),
        ("tuned", tuned),
        ("big", base + b"x"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    alone = compress_file(tmp_path / "tuned", tmp_path / "alone.nw")
    delta = compress_file(tmp_path / "tuned", tmp_path / "delta.nw", base=tmp_path / "base")
    assert delta.archive_bytes < alone.archive_bytes
    for place in ("base", "moved/copy"):
        verify_file(tmp_path / "delta.nw", against=tmp_path / "tuned", base=tmp_path / place)
        state = load_file(tmp_path / "delta.nw", base=tmp_path / place)
        assert state["moved"].tobytes() == load_file(tmp_path / "alone.nw")["moved"].tobytes()
    with open_archive(tmp_path / "delta.nw") as archive:  # it can be looked at without the base, not decoded
        assert archive.keys() == list(state)
        assert [t.codec for t in archive.tensors()].count("delta") == 1
        with pytest.raises(BaseMismatchError, match="base"):
            archive.tensor("moved")
    for action in (verify_file, load_file, open_archive, decompress_file):
        if action is not open_archive:
            with pytest.raises(BaseMismatchError, match="base"):
                action(tmp_path / "delta.nw")
        for wrong in ("other", "tuned", "big"):
            with pytest.raises(BaseMismatchError, match=wrong):
                action(tmp_path / "delta.nw", base=tmp_path / wrong)
    with pytest.raises(InputError, match="archive"):
        compress_file(tmp_path / "tuned", tmp_path / "x.nw", base=tmp_path / "alone.nw")
    with pytest.raises(NotFoundError):
        compress_file(tmp_path / "tuned", tmp_path / "x.nw", base=tmp_path / "nowhere")


def test_a_base_of_which_nothing_is_used_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"text" * 99)
    (tmp_path / "base").write_bytes(mixed())
    compress_file(tmp_path / "x", base=tmp_path / "base")
    verify_file(tmp_path / "x.nw", against=tmp_path / "x")


def test_quantised_blocks_against_a_base(tmp_path: Path) -> None:
    old = SAMPLES["gguf"].files[""]
    new = bytearray(old)
    new[-300] ^= 1
    (tmp_path / "old.gguf").write_bytes(old)
    (tmp_path / "new.gguf").write_bytes(bytes(new))
    compress_file(tmp_path / "new.gguf", base=tmp_path / "old.gguf")
    verify_file(tmp_path / "new.gguf.nw", against=tmp_path / "new.gguf", base=tmp_path / "old.gguf")


def test_a_base_far_larger_than_the_archive_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netweight.weights.archive import reader

    monkeypatch.setattr(reader, "_ALWAYS_ALLOWED", 0)
    monkeypatch.setattr(reader, "MAX_EXPANSION", 1)
    content = raw_safetensors({"w": ("F32", (100, 100), bell(1, 10_000).tobytes())})
    (tmp_path / "base").write_bytes(content)
    (tmp_path / "same").write_bytes(content)
    compress_file(tmp_path / "same", base=tmp_path / "base")
    assert load_file(tmp_path / "same.nw", base=tmp_path / "base")["w"].shape == (100, 100)


def test_the_same_name_in_two_files(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / "in").mkdir(exist_ok=True)
        content = raw_safetensors({"w": ("F32", (1,), np.float32(value).tobytes())})
        (tmp_path / "in" / name).write_bytes(content)
    state = load_file(compress_file(tmp_path / "in", tmp_path / "x.nw").archive)
    assert {k: float(v[0]) for k, v in state.items()} == {"w": 1.0, "b:w": 2.0}


def test_shards(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for k in (1, 2):
        content = raw_safetensors({f"w{k}": ("BF16", (30,), bell(k, 15).tobytes())})
        (tmp_path / "m" / f"s{k}.safetensors").write_bytes(content)
    (tmp_path / "m" / "unrelated").write_bytes(b"stays out")
    index = sharded(tmp_path / "m", {"w1": "s1.safetensors", "w2": "s2.safetensors"})
    receipt = compress_file(index)
    assert Path(receipt.archive).name == "model.safetensors.nw"
    assert load_file(receipt.archive).keys() == {"w1", "w2"}
    decompress_file(receipt.archive, tmp_path / "out")
    expected = tree(tmp_path / "m")
    del expected["unrelated"], expected["model.safetensors.nw"]
    assert tree(tmp_path / "out") == expected


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..", "", ".", "a\\b", "link"])
def test_shard_indexes_that_leave_their_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(FormatError):
        compress_file(sharded(tmp_path / "m", {"w": name}), tmp_path / "x.nw")
    assert not (tmp_path / "x.nw").exists()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 9), max_size=3)), max_size=6), st.data()
)
def test_any_small_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[str, list[int]]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("any")
    entries = {}
    for k, (name, shape) in enumerate(shapes):
        size = byte_count(name, tuple(shape))
        entries[f"t{k}"] = (name, tuple(shape), (data.draw(st.binary(min_size=1, max_size=40)) * (size + 1))[:size])
    (folder / "x").write_bytes(raw_safetensors(entries))
    receipt = compress_file(folder / "x", effort=data.draw(st.sampled_from(efforts())))
    state = load_file(receipt.archive)
    if not receipt.problems and state:
        assert {k: v.tobytes() for k, v in state.items()} == {k: v[2] for k, v in entries.items()}
    decompress_file(receipt.archive, folder / "y")
    assert (folder / "y").read_bytes() == (folder / "x").read_bytes()


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    for prefix in (b"", safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})):
        folder = tmp_path_factory.mktemp("any")
        (folder / "x").write_bytes(prefix + content)
        receipt = compress_file(folder / "x")
        assert decode_all(Path(receipt.archive).read_bytes(), None) == {"x": prefix + content}


def test_bfloat16_arrives_as_ml_dtypes(tmp_path: Path) -> None:
    blob, _ = archive_of(SAMPLES["safetensors"], tmp_path)
    with nw.open(blob) as archive:
        assert archive.tensor("embed").dtype == ml_dtypes.bfloat16
        assert archive.tensor("steps").shape == ()
        assert int(archive.tensor("steps")) == 7
        assert Spec("BF16", ((8, 10),)).nbytes == archive.tensor("head").nbytes
