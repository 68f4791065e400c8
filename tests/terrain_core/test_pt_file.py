"""nn.terrain's .pt files: the published one, round trips through torch, and files that mean harm."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import FileError
from terrain_core.terrain import Terrain
from terrain_core.terrain import pt_file as pt
from terrain_core.terrain.pt_file import read_pt, read_tensors, write_pt
from terrain_core.terrain.torchscript_pickle import Name, NotPlainDataError, read_pickle, write_pickle

# TorchScript is on its way out of PyTorch, but it is what nn.terrain reads: here torch is the oracle.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.:DeprecationWarning")


def tensors_by_torch(path: Path) -> dict[str, torch.Tensor]:
    module = torch.jit.load(str(path))
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def rebuilt(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of a zip with each member put through `change`; None leaves it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def with_pickle(source: Path, target: Path, data: bytes) -> Path:
    return rebuilt(source, target, lambda name, old: data if name.endswith("/data.pkl") else old)


def test_published_terrain_is_read_as_torch_reads_it(demo_pt: Path) -> None:
    terrain = read_pt(demo_pt)
    assert terrain.settings() == {
        "control_size": 2,
        "latent_size": 4,
        "gauss_scale": 0.12,
        "width": 128,
        "features": 256,
        "bounds": [[-16.0, 16.0], [-4.0, 4.0]],
    }
    expected = tensors_by_torch(demo_pt)
    found = read_tensors(demo_pt)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())


def test_published_terrain_sounds_as_in_torch(demo_pt: Path, rng: np.random.Generator) -> None:
    tensors = tensors_by_torch(demo_pt)
    coordinates = rng.uniform([-16, -4], [16, 4], (500, 2)).astype(np.float32)
    with torch.no_grad():
        phases = (tensors["two_pi"] * torch.tensor(coordinates)) @ tensors["B_T"]
        units = torch.cat([phases.sin(), phases.cos()], 1)
        for number, layer in enumerate(("fc_in_gau", "fc2", "fc3", "fc4"), start=1):
            units = units @ tensors[f"{layer}.weight"].T + tensors[f"{layer}.bias"]
            units = torch.nn.functional.prelu(units, tensors[f"prelu{number}.weight"])
        expected = (units @ tensors["fc_out.weight"].T + tensors["fc_out.bias"]).numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(read_pt(demo_pt)(coordinates), expected, atol=1e-5 * np.abs(expected).max())


def test_written_file_has_the_original_tensors(demo_pt: Path, tmp_path: Path) -> None:
    write_pt(read_pt(demo_pt), tmp_path / "again.pt")
    ours, theirs = tensors_by_torch(tmp_path / "again.pt"), tensors_by_torch(demo_pt)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("gauss_scale", [0.0, 0.3, 7.123456])
def test_round_trip(gauss_scale: float, tmp_path: Path, rng: np.random.Generator) -> None:
    bounds = [[0, 2], [3, 4], [5, 7]]
    terrain = Terrain.create(3, 5, bounds=bounds, gauss_scale=gauss_scale, width=9, features=17, seed=4)
    write_pt(terrain, tmp_path / "a.pt")
    again = read_pt(tmp_path / "a.pt", bounds)
    coordinates = rng.uniform(0, 7, (20, 3))
    np.testing.assert_array_equal(again(coordinates), terrain(coordinates))
    assert again.settings() == terrain.settings()
    assert ("fc_in_linear.weight" in tensors_by_torch(tmp_path / "a.pt")) == (gauss_scale == 0)
    write_pt(again, tmp_path / "b.pt")
    names = [zipfile.ZipFile(tmp_path / name).namelist()[0] for name in ("a.pt", "b.pt")]
    assert names == ["a/data/0", "b/data/0"], "the archive's folder is named after the file, as Max does"


def test_a_module_that_torch_wrote_is_read(tmp_path: Path) -> None:
    """Strides, deflated members, plain numbers beside tensors: torch.jit.save writes a layout of its own."""

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("B_T", torch.arange(6.0).reshape(3, 2).T)
            self.fc2 = torch.nn.Linear(2, 3)
            self.count = 7

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    holder = Holder()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(holder), buffer)
    (tmp_path / "t.pt").write_bytes(buffer.getvalue())
    found = read_tensors(tmp_path / "t.pt")
    np.testing.assert_array_equal(found["B_T"], [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(found["fc2.weight"], holder.fc2.weight.detach().numpy())
    with pytest.raises(FileError, match="has no tensor 'm_in_dim'"):
        read_pt(tmp_path / "t.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a whole zip archive"),
        (b"RIFF\x00\x00\x00\x00WAVE", "is not a whole zip archive"),
        (b"PK\x05\x06" + bytes(18), "without data.pkl"),
    ],
)
def test_other_files_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(FileError, match=words):
        read_pt(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        read_pt(tmp_path / "none.pt")
    with pytest.raises(FileError, match="could not be read"):
        read_pt(tmp_path)


def test_truncated_anywhere(demo_pt: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    whole = demo_pt.read_bytes()
    for cut in rng.integers(0, len(whole) - 1, 20):
        (tmp_path / "cut.pt").write_bytes(whole[:cut])
        with pytest.raises(FileError):
            read_pt(tmp_path / "cut.pt")


def test_a_flipped_byte_is_refused_or_harmless(demo_pt: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    whole = bytearray(demo_pt.read_bytes())
    for position in rng.integers(len(whole) - 12000, len(whole), 100):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        (tmp_path / "bad.pt").write_bytes(damaged)
        try:
            terrain = read_pt(tmp_path / "bad.pt")
        except FileError:
            continue
        assert np.isfinite(terrain([[0.0, 0.0]])).all()


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('run!')",)


@pytest.mark.parametrize(
    "hostile",
    [
        pickle.dumps(_Harm(), 2),
        pickle.dumps(_Harm(), 0),
        pickle.dumps(_Harm(), 4),
        b"cos\nsystem\n(X\x02\x00\x00\x00lstR.",
        b"\x80\x02c__torch__ X\nModule\n)\x81cos\nsystem\nb.",
        b"\x80\x02cos\nModule\n)\x81.",
        b"\x80\x02cos\nsystem\n}b.",
        b"\x80\x02r\xff\xff\xff\x7f.",  # a memo of 2^31 entries
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text of 2 GB
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        b"\x80\x02)" + b"q\x00h\x00h\x00\x86" * 200 + b")R.",  # 2^200 nested tuples by reference
        b"\x80\x02X\x07\x00\x00\x00storageQ.",
        b"\x80\x02K\x01.",
        b"\x80\x02",
        b".",
        b"",
    ],
)
def test_hostile_pickles_are_refused(hostile: bytes, demo_pt: Path, tmp_path: Path) -> None:
    path = with_pickle(demo_pt, tmp_path / "hostile.pt", hostile)
    with pytest.raises(FileError, match=r"data\.pkl"):
        read_pt(path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    with contextlib.suppress(NotPlainDataError):
        read_pickle(data)


def test_pickle_is_what_python_would_read() -> None:
    value = {"a": (1, -2, 1 << 20), "b": {"c": "grün", "d": True}, "e": ()}
    assert pickle.loads(write_pickle(value)) == value
    assert read_pickle(write_pickle(value)) == value
    for protocol in (2, 3, 4, 5):
        assert read_pickle(pickle.dumps({"a": 1.5, "b": [1, 2, (None, False, 1 << 40)]}, protocol)) == {
            "a": 1.5,
            "b": [1, 2, (None, False, 1 << 40)],
        }
    assert read_pickle(write_pickle(Name("torch FloatStorage"))) == Name("torch FloatStorage")


def test_too_large_a_member_is_refused_before_it_is_unpacked(demo_pt: Path, tmp_path: Path) -> None:
    bomb = with_pickle(demo_pt, tmp_path / "bomb.pt", bytes(200_000_000))
    assert bomb.stat().st_size < 1_000_000
    tracemalloc.start()
    with pytest.raises(FileError, match=r"data\.pkl has more than 1,048,576 bytes"):
        read_pt(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_storage_that_claims_too_much(demo_pt: Path, tmp_path: Path) -> None:
    claims = {b"J\x00\x00\x01\x00t": b"J\xff\xff\xff\x7ft", b"M\x00\x40t": b"M\xff\x7ft"}
    original = zipfile.ZipFile(demo_pt).read("DemoTerrain.pt/data.pkl")
    for (claim, larger), words in zip(claims.items(), ("larger than any terrain", "bytes, expected"), strict=True):
        assert claim in original
        path = with_pickle(demo_pt, tmp_path / "claim.pt", original.replace(claim, larger, 1))
        with pytest.raises(FileError, match=words):
            read_pt(path)


def test_strides_must_stay_within_the_storage(demo_pt: Path, tmp_path: Path) -> None:
    original = zipfile.ZipFile(demo_pt).read("DemoTerrain.pt/data.pkl")
    strides, beyond = b"(M\x00\x02K\x01t", b"(M\xff\x7fK\x01t"
    assert strides in original
    path = with_pickle(demo_pt, tmp_path / "strides.pt", original.replace(strides, beyond))
    with pytest.raises(FileError, match="does not fit its storage"):
        read_pt(path)


@pytest.mark.parametrize(
    ("member", "data", "words"),
    [
        ("data/3", struct.pack("<128f", *[float("nan")] * 128), "'fc_in_gau.bias' holds 128 of 128"),
        ("data/3", None, "has no member data/3"),
        ("data/3", bytes(100), "has 100 bytes, expected 512"),
        ("data/16", struct.pack("<q", 7), r"control_size is 7; expected int in 1\.\.6"),
        ("data/16", struct.pack("<q", 3), r"'B_T' has shape \(2, 256\); expected \(3, 256\)"),
        ("data/19", struct.pack("<f", float("nan")), "gauss_scale is nan"),
        ("data/19", struct.pack("<f", 0.0), "no tensor 'B_T'"),
        ("data.pkl", None, r"without data\.pkl"),
    ],
)
def test_wrong_contents_are_named(member: str, data: bytes | None, words: str, demo_pt: Path, tmp_path: Path) -> None:
    path = rebuilt(demo_pt, tmp_path / "x.pt", lambda name, old: data if name.endswith(f"/{member}") else old)
    with pytest.raises(FileError, match=words):
        read_pt(path)


def test_big_endian_numbers(demo_pt: Path, tmp_path: Path) -> None:
    sizes = {str(number): 4 for number in range(21)} | {"16": 8, "17": 8, "18": 8, "20": 8}

    def swap(name: str, data: bytes) -> bytes:
        number = name.rpartition("/data/")[2]
        if number in sizes:
            return np.frombuffer(data, f"u{sizes[number]}").byteswap().tobytes()
        return b"big" if name.endswith("/byteorder") else data

    swapped = read_pt(rebuilt(demo_pt, tmp_path / "big.pt", swap))
    np.testing.assert_array_equal(swapped.weights["fc_out.weight"], read_pt(demo_pt).weights["fc_out.weight"])


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terrain = Terrain.create(2, 2, width=8, features=16)
    with pytest.raises(FileError, match="folder"):
        write_pt(terrain, tmp_path / "nowhere" / "a.pt")
    (tmp_path / "a.pt").write_bytes(b"kept")
    monkeypatch.setattr(pt, "write_pickle", lambda value: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_pt(terrain, tmp_path / "a.pt")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.pt", b"kept")]
