"""Reads safetensors files without a library of tensors: the header, and whether every number in it is one."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.model_store.http_download import ReportBytes
from portrait.errors import OperatorError

MAX_HEADER_BYTES = 100_000_000
"""Bytes of a header at most, as the library `safetensors` has it."""
BLOCK_BYTES = 1 << 24
EXPONENT_BITS = {
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
}
"""By type: how its bytes are read, and the bits that are all set in infinities and NaNs (IEEE 754; the fp8 types of the Open
Compute Project, of which E4M3 has NaNs alone)."""
INTEGERS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8}
"""Bytes of one number of the types that hold positions and counters."""
OTHER_FORMATS = {b"GGUF": "in llama.cpp's format GGUF", b"\x08": "in another format, such as ONNX"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file."""
    end: int


def is_pickled(path: Path) -> bool:
    """Whether a file is one of PyTorch's pickled ones: a zip, or a pickle of an older version."""
    with path.open("rb") as file:
        begin = file.read(2)
    return begin == b"PK" or (begin[:1] == b"\x80" and begin[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors that a file holds, by name.

    Raises `OperatorError`: `not_weights` for a file of another format, `truncated_weights`, `pickled_weights`; `OSError`.
    """
    if is_pickled(path):
        raise OperatorError(
            "pickled_weights",
            f"{path.name} is a pickled file, which could run any program: take its .safetensors, or add it with --pickled, "
            "which keeps its tensors alone.",
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(16)
        length = int.from_bytes(begin[:8], "little")
        if len(begin) < 10 or length > MAX_HEADER_BYTES or begin[8:9] != b"{":
            raise _not_weights(path, begin + file.read(1000))
        if 8 + length > size:
            raise _truncated(path, size, 8 + length)
        file.seek(8)
        content = file.read(length)
    try:
        header = json.loads(content)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(entry, 8 + length) for name, entry in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise OperatorError("not_weights", f"{path.name} has a header that cannot be read: fetch it again.") from error
    if not tensors:
        raise OperatorError("not_weights", f"{path.name} holds no tensor.")
    end = max(tensor.end for tensor in tensors.values())
    if end > size:
        raise _truncated(path, size, end)
    return tensors


def check_numbers(path: Path, tensors: Mapping[str, Tensor], report: ReportBytes | None = None) -> None:
    """Check that the types are weights' and that no number is infinite or none.

    Raises `OperatorError` (`broken_weights`) that names the first tensor that is not as it should be.
    """
    size, done = path.stat().st_size, 0
    with path.open("rb") as file:
        for name, tensor in sorted(tensors.items(), key=lambda each: each[1].start):
            dtype = tensor.dtype.removesuffix("FN")
            _check_type(path, name, tensor, dtype)
            if dtype in EXPONENT_BITS:
                file.seek(tensor.start)
                _check_tensor(path, name, file.read, (tensor.end - tensor.start, *EXPONENT_BITS[dtype]))
            done += tensor.end - tensor.start
            if report:
                report(done, size)


def _check_type(path: Path, name: str, tensor: Tensor, dtype: str) -> None:
    weights = len(tensor.shape) >= 2 and not name.endswith("_ids")
    if dtype not in EXPONENT_BITS and (dtype not in INTEGERS or weights):
        raise OperatorError(
            "broken_weights",
            f"{path.name} holds {tensor.dtype} in {name}: files with quantised weights are not read. Take one in float16, "
            "bfloat16, float32 or float8.",
        )
    width = int(EXPONENT_BITS[dtype][0][2]) if dtype in EXPONENT_BITS else INTEGERS[dtype]
    if tensor.end - tensor.start != math.prod(tensor.shape) * width:
        sentence = f"{path.name} has other bytes in {name} than its shape has numbers: fetch it again."
        raise OperatorError("broken_weights", sentence)


def _check_tensor(path: Path, name: str, read: Any, layout: tuple[int, str, int]) -> None:
    import numpy as np

    left, dtype, mask = layout
    while left > 0:
        block = read(min(left, BLOCK_BYTES))
        numbers = np.frombuffer(block, dtype)
        bits = numbers.dtype.type(mask)
        if ((numbers & bits) == bits).any():
            raise OperatorError(
                "broken_weights",
                f"{path.name} holds numbers in {name} that are infinite or none (NaN): nothing can be drawn with it. Take "
                "another version of it.",
            )
        left -= len(block)


def _tensor(entry: Mapping[str, Any], begin: int) -> Tensor:
    start, end = (int(each) for each in entry["data_offsets"])
    shape = tuple(int(each) for each in entry["shape"])
    if not 0 <= start <= end or min(shape, default=0) < 0:
        raise ValueError(f"{start} to {end} of {shape}")
    return Tensor(str(entry["dtype"]), shape, begin + start, begin + end)


def _not_weights(path: Path, begin: bytes) -> OperatorError:
    if not begin:
        why = "is empty"
    elif begin.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        why = "is a web page, not a file of weights: take the address of the download itself, or sign in there"
    elif begin.startswith(b"version https://git-lfs"):
        why = "is a pointer of Git LFS, not the file itself: take the address of the download"
    else:
        formats = (words for magic, words in OTHER_FORMATS.items() if begin.startswith(magic))
        why = f"is {next(formats, 'no file of weights')}; safetensors is read"
    return OperatorError("not_weights", f"{path.name} {why}.")


def _truncated(path: Path, size: int, whole: int) -> OperatorError:
    return OperatorError(
        "truncated_weights", f"{path.name} has {size} bytes of {whole} that its header tells of: fetch it again."
    )
