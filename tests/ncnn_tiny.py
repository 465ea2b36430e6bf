"""A random upscaling network in ncnn's format, with the layers of Real-ESRGAN's, and what it computes in plain NumPy."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WIDTH = 4
CONVOLUTIONS = {"first": (3, WIDTH), "dense": (WIDTH, WIDTH), "last": (2 * WIDTH, WIDTH), "body": (WIDTH, WIDTH)}
CONVOLUTIONS |= {"large": (WIDTH, WIDTH), "output": (WIDTH, 3)}
"""Channels in and out, in the order of the file."""
ACTIVATED = {"dense", "large"}
GRAPH = """7767517
12 17
Input            data     0 1 data
Convolution      first    1 1 data first {first}
Split            split    1 4 first a b c d
Convolution      dense    1 1 a dense {dense}
Concat           joined   2 1 b dense joined
Convolution      last     1 1 joined last {last}
Eltwise          sum      2 1 last c sum 0=1 -23301=2,2.000000e-01,1.000000e+00
Convolution      body     1 1 sum body {body}
BinaryOp         add      2 1 d body deep
Interp           twice    1 1 deep twice 0=1 1=2.000000e+00 2=2.000000e+00
Convolution      large    1 1 twice large {large}
Convolution      output   1 1 large output {output}
"""


def write(path: Path, half: bool = True) -> Path:
    """Write `NAME.param` and `NAME.bin`, weights as half or single floats; returns the first."""
    weights, lines = b"", {}
    for name, (weight, bias) in _weights().items():
        lines[name] = f"0={len(bias)} 1=3 4=1 5=1 6={weight.size}"
        if name in ACTIVATED:
            lines[name] += " 9=2 -23310=1,2.000000e-01"
        numbers = weight.astype("<f2" if half else "<f4").tobytes()
        weights += struct.pack("<I", 0x01306B47 if half else 0) + numbers + b"\0" * (-len(numbers) % 4)
        weights += bias.astype("<f4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GRAPH.format(**lines))
    path.with_suffix(".bin").write_bytes(weights)
    return path


def run(pixels: Floats) -> Floats:
    """What the network makes of 3×H×W: 3×2H×2W."""
    made = _weights()
    first = _convolved(pixels, *made["first"])
    dense = _leaky(_convolved(first, *made["dense"]))
    summed = 0.2 * _convolved(np.concatenate([first, dense]), *made["last"]) + first
    deep = first + _convolved(summed, *made["body"])
    large = _leaky(_convolved(deep.repeat(2, axis=1).repeat(2, axis=2), *made["large"]))
    return _convolved(large, *made["output"])


def _weights() -> dict[str, tuple[Floats, Floats]]:
    random = np.random.default_rng(0)
    made = {}
    for name, (channels, out) in CONVOLUTIONS.items():
        # As halves have them, so that both kinds of file say the same.
        weight = random.normal(scale=(9 * channels) ** -0.5, size=(out, channels, 3, 3)).astype(np.float16)
        made[name] = weight.astype(np.float32), random.normal(scale=0.1, size=out).astype(np.float32)
    return made


def _convolved(pixels: Floats, weight: Floats, bias: Floats) -> Floats:
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.asarray(np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None], np.float32)


def _leaky(values: Floats) -> Floats:
    return np.where(values < 0, np.float32(0.2) * values, values)
