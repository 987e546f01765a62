"""A screenshot as a PNG of 256 colours, a third as large: a page of text has few more."""

import base64
import struct
import zlib

import numpy as np
from playwright.sync_api import Page

COLOURS = 256
# The browser reads its own picture; here is no other program that could.
_PIXELS = """async (picture) => {
  const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const data = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return [bitmap.width, bitmap.height, btoa(text)];
}"""


def smaller(blank: Page, picture: bytes) -> bytes:
    """The picture in the colours that it has most of; each other pixel in the nearest of them."""
    width, height, pixels = blank.evaluate(_PIXELS, base64.b64encode(picture).decode())
    found = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(-1, 4)[:, :3]
    colours, which, counts = np.unique(found, axis=0, return_inverse=True, return_counts=True)
    palette = colours[np.argsort(-counts)[:COLOURS]].astype(int)
    distances = [((palette - colour) ** 2).sum(axis=1).argmin() for colour in colours.astype(int)]
    rows = np.array(distances, np.uint8)[which.reshape(-1)].reshape(height, width)
    lines = np.insert(rows, 0, 0, axis=1)  # no filter
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", palette.astype(np.uint8).tobytes())
        + _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
    )
