"""Published codecs (EnCodec, DAC, Mimi, Stable Audio Open's autoencoder, Music2Latent) as bundles of ONNX graphs.

`find` says whether a folder holds a checkpoint, `convert` makes a bundle of it. Neither downloads anything, and torch
and the codecs' packages are imported only by `convert`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from terrain_core.errors import FileError, InputError

if TYPE_CHECKING:
    from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder

EXTRAS: Final = {
    "encodec": "codecs",
    "dac": "codecs",
    "mimi": "codecs",
    "oobleck": "codecs",
    "music2latent": "music2latent",
}
"""Kinds, and the extra of this package that each one needs."""
MUSIC2LATENT: Final = "music2latent.pt"
"""What its package calls its weights."""
SNAPS: Final = ("encodec", "dac", "mimi")
"""Kinds with codebooks."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with weights.

    Attributes:
        kind: one of `EXTRAS`.
        folder: where the weights lie.
        licence: what the folder's README or LICENSE states; empty if nothing.
    """

    kind: str
    folder: Path
    licence: str


@dataclass(frozen=True)
class CodecConversion:
    """A converted checkpoint.

    Attributes:
        bundle: plays as it is; `nn_tilde.bundle.save` writes it.
        error: the largest difference of the streamed graph from what it stands for, of the loudest sample: the original
            where it can be streamed exactly (from `settles` frames after the start), else our own walk of it.
        limit: what was allowed: 1e-6, or four times the original's own rounding where that is coarser.
        encoder_error: the same, of the largest latent.
        settles: frames after a clean start from which the decoder equals the original; None if it never does: then
            the card's `seam_error` says by how much.
        eager_seconds, onnx_seconds: for one frame on one thread, medians, measured in turn.
    """

    bundle: OnnxAutoencoder
    family: str
    error: float
    limit: float
    encoder_error: float
    settles: int | None
    checked_frames: int
    eager_seconds: float
    onnx_seconds: float


def find(folder: str | Path) -> Checkpoint | None:
    """The checkpoint in a folder, or None if there is none that we know; a whole pipeline's `vae` is found, too.

    Raises:
        FileError: its config.json is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return None
    if (folder / MUSIC2LATENT).is_file():
        return Checkpoint("music2latent", folder, licence_of(folder))
    for place in (folder, folder / "vae"):
        kind = _kind(place / "config.json")
        if kind:
            return Checkpoint(kind, place, licence_of(place) or licence_of(folder))
    return None


def _kind(config: Path) -> str:
    if not config.is_file():
        return ""
    try:
        facts: Any = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(config, f"cannot be read as JSON ({error})") from None
    if not isinstance(facts, dict):
        return ""
    if facts.get("_class_name") == "AutoencoderOobleck":
        return "oobleck"
    kind = str(facts.get("model_type", ""))
    return kind if kind in SNAPS else ""


def licence_of(folder: Path) -> str:
    """What is stated beside the weights: the `license` of a README's header, or the first line of a LICENSE."""
    readme = folder / "README.md"
    if readme.is_file():
        header = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        named = (
            dict(re.findall(r"^(license(?:_name)?):\s*[\"']?([^\s\"'#]+)", header[1], re.MULTILINE)) if header else {}
        )
        if named.get("license", "other") != "other":
            return str(named["license"])
        if "license_name" in named:
            return str(named["license_name"])
    for name in ("LICENSE", "LICENSE.md", "LICENSE.txt"):
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8", errors="replace").strip()
            return text.splitlines()[0].strip("# ").strip()[:100] if text else ""
    return ""


def forbids(licence: str) -> str:
    """What a licence does not allow, in a few words; empty where we do not know. Read the licence itself."""
    plain = licence.lower().replace(" ", "-")
    if not plain:
        return ""
    found = []
    if "-nc" in plain or "noncommercial" in plain or "non-commercial" in plain:
        found.append("commercial use")
    if "-nd" in plain:
        found.append("passing on changed versions, a converted one among them")
    if ("stable" in plain and "commun" in plain) or "stability" in plain:
        found.append("commercial use above the yearly revenue it states, without another licence")
    if found:
        return ", ".join(found)
    free = ("mit", "apache", "bsd", "isc", "cc0", "cc-by-4", "cc-by-3", "unlicense")
    return "nothing but leaving out its notice" if plain.startswith(free) else ""


def convert(checkpoint: Checkpoint, *, name: str = "", codebooks: int = 0) -> CodecConversion:
    """Make a bundle of a checkpoint and check it against the original on the spot.

    Args:
        name: of the bundle; empty for the folder's.
        codebooks: 0 to decode latents as they are; else how many codebooks each frame is snapped to first.
    Raises:
        InputError: the packages that this kind needs are not installed, or it has not that many codebooks.
        FileError: the weights are damaged, or the graphs differ from the original; the text says by how much.
    """
    if codebooks and checkpoint.kind not in SNAPS:
        raise InputError(f"a {checkpoint.kind} has no codebooks to snap to")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the packages are imported: nothing is fetched
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from terrain_core.autoencoders.codecs import convert_torch
    except ImportError as error:
        raise InputError(
            f"converting a {checkpoint.kind} needs {error.name}: pip install "
            f"'latent-terrain[{EXTRAS[checkpoint.kind]}]'"
        ) from None
    return convert_torch.convert(checkpoint, name or checkpoint.folder.resolve().name, codebooks)
