"""Reads the last initializer of an ONNX file without the weights before it, which may be half a gigabyte.

An ONNX file is one message of protocol buffers: field 7 of `ModelProto` is the graph, each field 5 of `GraphProto` an
initializer. What lies between is skipped by its length.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from portrait.errors import broken_model

GRAPH, INITIALIZER = 7, 5
"""Field numbers in onnx.proto."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""
LARGEST = 1 << 26
"""Bytes of an initializer that is read: 64 MiB. A matrix of 512×512 has one."""


def last_initializer(path: Path, model: str) -> NDArray[np.float32]:
    """The values of the last initializer of a file of the model `model`; raises `EngineError` (`broken_model`)."""
    import onnx  # loads for half a second
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        tensor = onnx.TensorProto.FromString(_read_last(path))
        return np.asarray(numpy_helper.to_array(tensor), np.float32)
    except (ValueError, TypeError, OSError, DecodeError) as error:
        raise broken_model(path, str(error) or "it is no ONNX file", model) from error


def _read_last(path: Path) -> bytes:
    """The last initializer as it is in the file; raises `ValueError`, `OSError`."""
    with path.open("rb") as stream:
        graph = _last_field(stream, GRAPH, 0, path.stat().st_size)
        start, end = _last_field(stream, INITIALIZER, *graph)
        if end - start > LARGEST:
            raise ValueError(f"its last initializer has {end - start} bytes")
        stream.seek(start)
        return stream.read(end - start)


def _last_field(stream: BinaryIO, number: int, start: int, end: int) -> tuple[int, int]:
    """Where the content of the last field `number` begins and ends, of those between `start` and `end`; raises `ValueError`."""
    found: tuple[int, int] | None = None
    stream.seek(start)
    while stream.tell() < end:
        tag = _varint(stream)
        length = _content_length(stream, tag & 7)
        at = stream.tell()
        if at + length > end:
            raise ValueError("it ends too early")
        if tag >> 3 == number and tag & 7 == BYTES:
            found = (at, at + length)
        stream.seek(at + length)
    if found is None:
        raise ValueError("it is no ONNX file with initializers")
    return found


def _content_length(stream: BinaryIO, wire: int) -> int:
    """Bytes of a field's content, from where the stream is; raises `ValueError`."""
    if wire == VARINT:
        _varint(stream)
        return 0
    if wire == BYTES:
        return _varint(stream)
    if wire in (FIXED64, FIXED32):
        return 8 if wire == FIXED64 else 4
    raise ValueError("it is no ONNX file")


def _varint(stream: BinaryIO) -> int:
    """A number of seven bits a byte, the lowest first; raises `ValueError`."""
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("it ends too early")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("it is no ONNX file")
