"""TensorFlow's checkpoints without TensorFlow: NAME.index, a sorted table of what there is, and NAME.data-* files.

This is version 2 of the format, that of tf.train.Saver since 2016 and of tf.train.Checkpoint. The table is LevelDB's:
blocks of entries whose keys leave out what they share with the one before, one block of the others' places, and a
footer. Lengths and check sums of blocks and of tensors are checked.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from jobs.lib.crc32c import crc32c
from jobs.lib.failure import BadWeights

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TYPES = {  # of tensorflow.DataType; what is not here holds no numbers of a network
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}
Fields = dict[int, list[int | bytes]]


def read(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    """variable's name -> tensor, its axes as TensorFlow has them; BadWeights where the files are not a checkpoint."""
    indices = [file for file in files if file.suffix == ".index"]
    if len(indices) != 1:
        raise BadWeights(
            f"{len(indices)} .index files among {', '.join(f.name for f in files)}: one checkpoint has one"
        )
    try:
        return dict(_tensors(indices[0], {file.name: file for file in files}))
    except (struct.error, LookupError, ValueError) as error:
        raise BadWeights(f"{indices[0]} is no index of a TensorFlow checkpoint, or damaged ({error})") from error


def _tensors(index: Path, files: dict[str, Path]) -> Iterator[tuple[str, torch.Tensor]]:
    entries = _table(index)
    header = _fields(entries.pop(b"", b""))
    if _number(header, 2):
        raise BadWeights(f"{index} was written on a big-endian machine; its numbers are not read here")
    shards = _number(header, 1)
    names = [f"{index.stem}.data-{number:05d}-of-{shards:05d}" for number in range(shards)]
    missing = [name for name in names if name not in files]
    if missing or not shards:
        raise BadWeights(f"{index.name} has its numbers in {', '.join(names)}; {', '.join(missing)} is not there")
    for key, entry in entries.items():
        fields, name = _fields(entry), key.decode()
        if 7 in fields:
            raise BadWeights(f"{index.name}: {name} is in several slices, which is not read here")
        if _number(fields, 1) in _TYPES:
            yield name, _tensor(name, fields, files[names[_number(fields, 3)]])


def _tensor(name: str, fields: Fields, file: Path) -> torch.Tensor:
    dtype, size, offset = _TYPES[_number(fields, 1)], _number(fields, 5), _number(fields, 4)
    shape = [_number(_fields(side), 1) for side in _fields(_bytes(fields, 2)).get(2, []) if isinstance(side, bytes)]
    if math.prod(shape) * dtype.itemsize != size:
        raise BadWeights(f"{name} has the shape {tuple(shape)} and {size} bytes: the index is damaged")
    with open(file, "rb") as opened:
        opened.seek(offset)
        numbers = bytearray(opened.read(size))
    if len(numbers) < size:
        raise BadWeights(f"{file} is cut short: {name} should end at byte {offset + size}; fetch it again")
    if crc32c(numbers) != _unmasked(_number(fields, 6)):
        raise BadWeights(f"{file} is damaged: the check sum of {name} is another; fetch it again")
    return (torch.frombuffer(numbers, dtype=dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)


# ---- the table


def _table(index: Path) -> dict[bytes, bytes]:
    content = index.read_bytes()
    if len(content) < _FOOTER or struct.unpack("<Q", content[-8:]) != (_MAGIC,):
        raise BadWeights(f"{index} is no index of a TensorFlow checkpoint, or cut short; fetch it again")
    _, at = _handle(content, len(content) - _FOOTER)  # of a block of properties, which has none
    places, _ = _handle(content, at)
    found: dict[bytes, bytes] = {}
    for _, handle in _entries(_block(index, content, places)):
        found.update(_entries(_block(index, content, _handle(handle, 0)[0])))
    return found


def _block(index: Path, content: bytes, place: tuple[int, int]) -> bytes:
    offset, size = place
    kind, check = struct.unpack_from("<BI", content, offset + size)
    if crc32c(content[offset : offset + size + 1]) != _unmasked(check):
        raise BadWeights(f"{index} is damaged: the check sum of a block is another; fetch it again")
    if kind:
        raise BadWeights(f"{index} is compressed (kind {kind}: snappy is 1), which is not read here")
    return content[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    at, end, key = 0, len(block) - 4 * (1 + restarts), b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + size]
        at += size


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(content, at)
    size, at = _varint(content, at)
    return (offset, size), at


def _unmasked(check: int) -> int:
    turned = (check - 0xA282EAD8) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


# ---- protocol buffers


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(message: bytes) -> Fields:
    """number of a field -> its values: numbers, or the bytes of a text or a message."""
    found: Fields = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = _varint(message, at)
        elif tag & 7 == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
            value, at = int.from_bytes(message[at : at + size], "little"), at + size
        else:
            raise ValueError(f"a field of kind {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {number} is no number")
    return value


def _bytes(fields: Fields, number: int) -> bytes:
    value = fields.get(number, [b""])[-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {number} is a number")
    return value
