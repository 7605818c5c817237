"""The evidence packet: everything needed to judge again, as plain JSON."""

from __future__ import annotations

import base64
import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detectors.model import DeployInterval, FloatArray, History, JudgeSettings, SeriesSpec

SCHEMA = "deploy-watchdog/evidence/v1"

_WIDE = 2  # columns; wider are distributions
_LEVEL = (
    1  # of zlib: 7 days at 60 s become ten times smaller in 20 ms; level 6 takes 80 ms for a quarter more
)


def encode_array(
    values: FloatArray, step_s: float, *, end_at: float | None = None, first_at: float | None = None
) -> dict[str, Any]:
    """{"end_at" or "first_at", "step_s", "shape", "f8" or "f8z"}: samples of shape (n, w), bit for bit.

    end_at: end of the last step; first_at: end of the first. f8: base64 of little-endian float64; NaN is
    missing. f8z: the same through zlib, for distributions: their counts are many, and mostly 0.
    """
    anchor = {"end_at": end_at} if end_at is not None else {"first_at": first_at}
    body = np.ascontiguousarray(values, dtype="<f8").tobytes()
    key, packed = ("f8z", zlib.compress(body, _LEVEL)) if values.shape[1] > _WIDE else ("f8", body)
    return {
        **anchor,
        "step_s": step_s,
        "shape": list(values.shape),
        key: base64.b64encode(packed).decode("ascii"),
    }


def decode_array(array: Mapping[str, Any]) -> FloatArray:
    """The samples of an ARRAY of a packet: shape (n, w), float64. Raises ValueError when it is damaged."""
    shape = [int(n) for n in array["shape"]]
    body = _unpacked(array["f8z"], shape) if "f8z" in array else base64.b64decode(array["f8"], validate=True)
    if len(shape) != 2 or min(shape) < 0 or len(body) != 8 * shape[0] * shape[1]:
        raise ValueError(f"{len(body)} bytes do not fill shape {shape}; the packet is damaged")
    values = np.frombuffer(body, dtype="<f8").reshape(shape)
    return values.astype(np.float64, copy=sys.byteorder == "little")


def _unpacked(text: str, shape: Sequence[int]) -> bytes:
    try:
        # One byte more than the shape holds tells that there are too many, whatever they unpack to.
        return zlib.decompressobj().decompress(
            base64.b64decode(text, validate=True), 8 * math.prod(shape) + 1
        )
    except zlib.error as error:
        raise ValueError("f8z: is not what zlib packs; the packet is damaged") from error


def encode_spec(spec: SeriesSpec) -> dict[str, Any]:
    """The fields of a series."""
    return asdict(spec)


def decode_spec(fields: Mapping[str, Any]) -> SeriesSpec:
    """A series from its fields; raises TypeError for unknown ones."""
    return SeriesSpec(**fields)


def encode_deploys(deploys: Sequence[DeployInterval]) -> list[dict[str, Any]]:
    """The fields of each deploy."""
    return [asdict(d) for d in deploys]


def decode_settings(fields: Mapping[str, Any]) -> JudgeSettings:
    """Settings from their fields."""
    return JudgeSettings(**fields)


def decode_history(series: Mapping[str, Any]) -> History:
    """The history in one entry of `series` or `controls`."""
    return History(
        spec=decode_spec(series["spec"]),
        values=decode_array(series["history"]),
        end_at=series["history"]["end_at"],
    )
