"""Adam on a terrain's network, in torch. Imported only while fitting.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.network import Architecture, FloatArray

MOST_KEPT_INPUTS = 2**26
"""Values of Fourier features that are kept from epoch to epoch (256 MB); of larger data they are made anew."""


class FourierNetwork(torch.nn.Module):
    """The function of `network.Network`, differentiable; its state has the same names."""

    B_T: torch.Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        shapes = architecture.tensors()
        if "B_T" in shapes:
            self.register_buffer("B_T", torch.empty(shapes["B_T"]))
        self.has_features = "B_T" in shapes
        layers: list[torch.nn.Module] = []
        for number, name in enumerate(architecture.linear_layers, start=1):
            outputs, inputs = shapes[f"{name}.weight"]
            layers.append(torch.nn.Linear(inputs, outputs))
            self.add_module(name, layers[-1])
            if name != "fc_out":
                layers.append(torch.nn.PReLU())
                self.add_module(f"prelu{number}", layers[-1])
        self.layers = layers  # a plain list: the modules are registered by nn.terrain's names

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Coordinates (n, C) -> normalised latents (n, D)."""
        return self.from_inputs(self.inputs(coordinates))

    def inputs(self, coordinates: torch.Tensor) -> torch.Tensor:
        """What the first layer sees: Fourier features (n, 2 * features), which are not trained, or the coordinates."""
        if not self.has_features:
            return coordinates
        phases = (2 * math.pi) * (coordinates @ self.B_T)
        return torch.cat([phases.sin(), phases.cos()], dim=1)

    def from_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """The trained layers."""
        units = inputs
        for layer in self.layers:
            units = layer(units)
        return units


class AdamTrainer:
    """A network, its data on one device, and the optimiser's state."""

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, FloatArray],
        coordinates: NDArray[np.float64],
        targets: NDArray[np.float64],
        *,
        betas: tuple[float, float],
        device: str,
        seed: int,
        moments: Mapping[str, FloatArray],
        steps: int,
    ) -> None:
        self.device = checked_device(device)
        self.network = FourierNetwork(architecture)
        self.network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        self.network.to(self.device)
        self.coordinates = torch.tensor(coordinates, dtype=torch.float32, device=self.device)
        self.targets = torch.tensor(targets, dtype=torch.float32, device=self.device)
        self._inputs: torch.Tensor | None = None
        self.random = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.Adam(self.network.parameters(), betas=betas, fused=True)
        if moments:
            self._restore(moments, steps)

    def batches(
        self, batch_size: int, jitter: NDArray[np.float64] | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs of the first layer and targets, once through the data, shuffled; coordinates moved by N(0, jitter) if
        given, shape (C,).
        """
        order = torch.randperm(len(self.targets), generator=self.random).to(self.device)
        kept = self._kept_inputs() if jitter is None else None
        for chosen in torch.split(order, batch_size):
            if kept is not None:
                yield kept[chosen], self.targets[chosen]
                continue
            coordinates = self.coordinates[chosen]
            if jitter is not None:
                noise = torch.randn(coordinates.shape, generator=self.random).to(self.device)
                coordinates = coordinates + noise * torch.tensor(jitter, dtype=torch.float32, device=self.device)
            yield self.network.inputs(coordinates), self.targets[chosen]

    def _kept_inputs(self) -> torch.Tensor | None:
        """The inputs of all data, made once; None if they are too many to keep."""
        features = self.network.B_T.shape[1] if self.network.has_features else 0
        if self._inputs is None and 2 * features * len(self.targets) <= MOST_KEPT_INPUTS:
            self._inputs = self.network.inputs(self.coordinates)
        return self._inputs

    def step(self, inputs: torch.Tensor, targets: torch.Tensor, learning_rate: float) -> torch.Tensor:
        """One step of Adam; the mean squared error before it, as a tensor that nobody has waited for."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        loss = torch.nn.functional.mse_loss(self.network.from_inputs(inputs), targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def weights(self) -> dict[str, FloatArray]:
        """Copies of the tensors, by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.network.state_dict().items()}

    def moments(self) -> dict[str, FloatArray]:
        """Adam's running means, by "<tensor>.exp_avg" and "<tensor>.exp_avg_sq"; empty before the first step."""
        return {
            f"{name}.{kind}": self.optimiser.state[parameter][kind].cpu().numpy().copy()
            for name, parameter in self.network.named_parameters()
            for kind in MOMENTS
            if parameter in self.optimiser.state
        }

    def _restore(self, moments: Mapping[str, FloatArray], steps: int) -> None:
        for name, parameter in self.network.named_parameters():
            state: dict[str, Any] = {kind: torch.tensor(moments[f"{name}.{kind}"]).to(self.device) for kind in MOMENTS}
            state["step"] = torch.tensor(float(steps), device=self.device)
            self.optimiser.state[parameter] = state


MOMENTS = ("exp_avg", "exp_avg_sq")


def checked_device(name: str) -> torch.device:
    """The torch device of that name ("cpu", "cuda", "mps"), or InputError if this machine has none."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name, False):
        have = ", ".join(device for device, present in available.items() if present)
        raise InputError(f"device {name!r} is not available; this machine has {have}")
    return torch.device(name)
