"""Predicts two networks' features from each other at one stride, and measures how wrong the predictions are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trt_build.methods.good_parts.distance import relative_distance
from trt_build.methods.good_parts.whitening import Whitening
from trt_build.methods.pfm.published import UnitLength, squared_length

#: Features of the first backbone and of the second, `(N, C, h, w)` each.
Pair = tuple[Tensor, Tensor]


class Level(nn.Module):
    """Predicts each network's features from the other's at one stride. Gives an error map for each network."""

    def __init__(
        self,
        channels: tuple[int, int],
        latent: int,
        code_size: tuple[int, int] | None,
        *,
        as_published: bool = False,
    ) -> None:
        super().__init__()
        self.whitenings = nn.ModuleList(
            UnitLength() if as_published else Whitening(width) for width in channels
        )
        self._as_published = as_published
        self.encoders = nn.ModuleList(_encoder(width, latent) for width in channels)
        self.coder = nn.Conv2d(2 * latent, latent, 1)
        self.decoders = nn.ModuleList(_decoder(latent, width) for width in channels)
        self.placed = code_size is not None
        if code_size:
            for name, width in zip(("first", "second"), channels, strict=True):
                self.register_buffer(f"code_{name}", position_code(width, *code_size), persistent=False)

    def distances(self, seen: Pair, told: Pair, *, least: float) -> Pair:
        """Return how wrong the prediction of each network's features is, as two maps `(N, 1, h, w)` float32.

        `told` is what `tell` predicted. Squared distances are divided by `least` plus the mean square of
        `told`; as published, by nothing.
        """
        if self._as_published:
            return squared_length(seen[0], told[0]), squared_length(seen[1], told[1])
        first, second = (relative_distance(*both, least=least) for both in zip(seen, told, strict=True))
        return first, second

    def tell(self, seen: Pair) -> Pair:
        """Return each network's features as predicted from the other's, `(N, C, h, w)` float32 each."""
        return self.project((seen[0].float(), seen[1].float()), self._codes() if self.placed else None)

    def whiten(self, raw: Pair) -> Pair:
        """Return both networks' raw features made uncorrelated or, as published, of length one, as float32."""
        return self.whitenings[0](raw[0]), self.whitenings[1](raw[1])

    def fit_features(self, raw: Sequence[Pair]) -> None:
        """Learn from good parts' raw features, a pair for each batch, how to make features uncorrelated."""
        for way, whitening in enumerate(self.whitenings):
            assert isinstance(whitening, Whitening)
            whitening.fit(pair[way] for pair in raw)

    def project(self, seen: Pair, codes: Pair | None = None) -> Pair:
        """Predict each network's features from the other's, after adding the position `codes` if given."""
        first, second = seen if codes is None else (seen[0] + codes[0], seen[1] + codes[1])
        told: Tensor = self.decoders[0](self.coder(self.encoders[1](second)))
        other: Tensor = self.decoders[1](self.coder(self.encoders[0](first)))
        return told, other

    def codes_at(self, places: Tensor) -> Pair | None:
        """Return codes of the positions of P cells, `(1, C, P, 1)` for either network; None if unused."""
        if not self.placed:
            return None
        first, second = (code.flatten(2)[..., places, None] for code in self._codes())
        return first, second

    def _codes(self) -> Pair:
        return self.get_buffer("code_first"), self.get_buffer("code_second")


def position_code(channels: int, height: int, width: int) -> Tensor:
    """Return sines and cosines that encode each cell's column and row, as `(1, channels, height, width)`."""
    steps = channels // 4
    rates = torch.exp(-math.log(10000.0) * torch.arange(steps) / steps)
    turns = [torch.arange(count)[:, None] * rates for count in (width, height)]
    column, row = (torch.cat((turn.sin(), turn.cos()), dim=1).T for turn in turns)
    code = torch.zeros(1, channels, height, width)
    code[0, : 2 * steps] = column[:, None, :]
    code[0, 2 * steps : 4 * steps] = row[:, :, None]
    return code


def _encoder(width: int, latent: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(width, between), *_conv(between, 2 * latent))


def _decoder(latent: int, width: int) -> nn.Sequential:
    between = width // 2 + latent
    return nn.Sequential(*_conv(latent, 2 * latent), *_conv(2 * latent, between), nn.Conv2d(between, width, 1))


def _conv(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
