"""ONNX Runtime, told to keep to itself. Import it from here.

Its 1.31 release for Linux collects usage figures as soon as it is imported: threads, files under ~/.cache, and attempts
to send them. None of that belongs into a musician's DAW, and a process with such threads cannot be forked safely.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort  # the switch has to be set before

__all__ = ["ort"]
