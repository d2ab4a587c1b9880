"""A TensorFlow checkpoint, written byte by byte: a table of few entries a block, so that there are many blocks."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10, "float16": 19}
NONE, SNAPPY = 0, 1
TEXT = 7  # the type of a variable that holds texts


def write(
    folder: Path, name: str, variables: Mapping[str, np.ndarray], shards: int = 1, packed: int = NONE
) -> list[Path]:
    """Writes NAME.index and NAME.data-*, one variable after another into the shards in turn, and returns all files."""
    numbers = [b""] * shards
    entries = {b"": field(1, shards) + field(2, 0) + field(3, field(1, 1))}
    for count, (variable, array) in enumerate(sorted(variables.items())):
        shard, content = count % shards, array.tobytes()
        shape = b"".join(field(2, field(1, side)) for side in array.shape)
        entry = field(1, TYPES[array.dtype.name]) + field(2, shape) + field(3, shard) + field(4, len(numbers[shard]))
        entries[variable.encode()] = entry + field(5, len(content)) + b"\x35" + struct.pack("<I", masked(content))
        numbers[shard] += content
    return whole(folder, name, entries, numbers, packed)


def whole(folder: Path, name: str, entries: Mapping[bytes, bytes], numbers: list[bytes], packed: int) -> list[Path]:
    """Writes the table of entries, and the shards."""
    made, places = b"", {}
    ordered = sorted(entries.items())
    for start in range(0, len(ordered), 5):
        part = dict(ordered[start : start + 5])
        place, made = closed(made, block(part), packed)
        places[max(part)] = place
    properties, made = closed(made, block({}), NONE)
    index, made = closed(made, block(places, every=1), packed)
    made += (properties + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    files = {folder / f"{name}.index": made}
    for number, content in enumerate(numbers):
        files[folder / f"{name}.data-{number:05d}-of-{len(numbers):05d}"] = content
    for file, content in files.items():
        file.write_bytes(content)
    return list(files)


def closed(made: bytes, content: bytes, packed: int) -> tuple[bytes, bytes]:
    """The place of a block that is added, and all that is made with it."""
    end = content + bytes([packed])
    return varint(len(made)) + varint(len(content)), made + end + struct.pack("<I", masked(end))


def block(entries: Mapping[bytes, bytes], every: int = 3) -> bytes:
    """Sorted keys, of which each leaves out what it shares with the one before; every so many begin anew."""
    made, before, restarts = b"", b"", []
    for count, (key, value) in enumerate(sorted(entries.items())):
        shared = 0
        if count % every == 0:
            restarts.append(len(made))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        made += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return made + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def varint(value: int) -> bytes:
    made = b""
    while value >= 0x80:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def masked(content: bytes) -> int:
    rest = crc(content)
    return ((rest >> 15 | rest << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc(content: bytes) -> int:
    """CRC-32C, byte by byte."""
    rest = 0xFFFFFFFF
    for byte in content:
        rest = rest >> 8 ^ REMAINDERS[(rest ^ byte) & 0xFF]
    return rest ^ 0xFFFFFFFF


def remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


REMAINDERS = [remainder(byte) for byte in range(256)]
