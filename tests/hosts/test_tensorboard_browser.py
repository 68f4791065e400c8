"""TensorBoard in a real browser, on what a short training leaves: its curves, spectrograms and sounds are there to see.

TERRAIN_MEDIA=FOLDER also keeps a picture of it.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from terrain_core.one_shots.config import preset
from terrain_core.one_shots.training.drum_data import synthesise
from terrain_core.one_shots.training.train import train

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")]

MEDIA = Path(os.environ["TERRAIN_MEDIA"]) if "TERRAIN_MEDIA" in os.environ else None
PATIENCE = 120  # seconds; the machine may have other work


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Of the preset "tiny", eight epochs of a few drums."""
    tiny = preset("tiny")
    settings = dataclasses.replace(tiny.train, epochs=8, warm_epochs=2)
    data, folder = tmp_path_factory.mktemp("drums"), tmp_path_factory.mktemp("run")
    synthesise(data, tiny.model, train=56, test=7, workers=1)
    train(data, tiny.model, settings, folder, tensorboard=True, accelerator="cpu")
    return folder


@pytest.fixture
def board(run):
    """TensorBoard's address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run), "--host", "127.0.0.1"]
    running = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address, end = f"http://127.0.0.1:{port}/", time.monotonic() + PATIENCE
        while not _answers(address):
            assert running.poll() is None, "TensorBoard ended"
            assert time.monotonic() < end, "TensorBoard never answered"
            time.sleep(0.2)
        yield address
    finally:
        running.terminate()
        running.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_tensorboard_shows_curves_spectrograms_and_sounds(board):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        page.goto(f"{board}?darkMode=false#timeseries")
        for group in ("latents", "spectrograms", "train", "val"):
            expect(page.get_by_text(group, exact=True).first).to_be_attached()
        page.locator("input[placeholder='Filter tags (regex)']").fill(
            "val/(loss|mel)|kl_bits|spectrograms/(orig|recon)"
        )
        page.keyboard.press("Escape")  # closes the list of suggestions
        for tag in ("kl_bits", "reconstruction", "original", "loss"):
            expect(page.get_by_text(tag).first).to_be_attached()
        keep(page, "tensorboard")
        page.goto(f"{board}?darkMode=false#audio")
        expect(page.locator("audio").first).to_be_attached()
        browser.close()


def keep(page, name: str) -> None:
    if MEDIA is not None:
        time.sleep(5)  # it draws its curves late, and says nothing when they are done
        picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        picture.quantize(128, dither=Image.Dither.NONE).save(MEDIA / f"one_shots_{name}.png", optimize=True)
