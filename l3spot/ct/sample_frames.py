"""A small compressed picture of each kind, to try the decoders."""

import base64
from typing import NamedTuple

import numpy as np

from l3spot.ct import decoder_processes
from l3spot.ct.decoders import CompressedFrame
from mtl.host.errors import DataError

BITS_ALLOCATED = 16


class Sample(NamedTuple):
    """A picture in which the value of a pixel is its row plus 64 times its column.

    transfer_syntax: TransferSyntaxUID. side: its rows and columns.
    content: the compressed bytes in base64.
    """

    transfer_syntax: str
    side: int
    content: str

    def check(self) -> str:
        """Decodes the picture, and returns "decodes".

        Raises:
          DataError, ValueError: it cannot be decoded, or has other values.
        """
        data = base64.b64decode(self.content)
        frame = CompressedFrame(
            self.transfer_syntax, data, self.side, self.side, BITS_ALLOCATED
        )
        pixels = np.frombuffer(decoder_processes.decode(frame).data, "<u2")
        count = np.arange(self.side, dtype=np.uint16)
        if not np.array_equal(pixels, np.add.outer(count, 64 * count).ravel()):
            raise DataError(f"{self.transfer_syntax} is decoded to other values")
        return "decodes"


SAMPLES = {
    "RLE": Sample(
        "1.2.840.10008.1.2.5",
        8,
        "AgAAAEAAAACCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAD8AAAAAAQEBAQAAAAABAQEBAAAAAAEBAQEAAAAAAQEBAQAAAAABAQEBAAAA"
        "AAEBAQEAAAAAAQEBAQAAAAABAQEBgD8AQIDAAECAwAFBgcEBQYHBAkKCwgJCgsIDQ4PDA0OD"
        "wwREhMQERITEBUWFxQVFhcUGRobGBkaGxgdHh8cHR4fHgA==",
    ),
    "JPEG 2000": Sample(
        "1.2.840.10008.1.2.4.90",
        32,
        "/0//UQApAAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAABCwEB/1IADAAAAAEA"
        "BQQEAAH/XAATQGBoaHBoaHBoaHBoaHBoaHD/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZl"
        "cnNpb24gMi41LjL/kAAKAAAAAABeAAH/k8/kDAXTf8fyBQB84IAEYgQ/w/YEgB8gMA0CBi0L"
        "PX/B+YNAB8IYIhoIXW3QA3+/wPwCIAHQwDahma5jo2SfPaYzwH2g0ABGX6fHiLx/nawp/9k=",
    ),
    "JPEG-LS": Sample(
        "1.2.840.10008.1.2.4.80",
        8,
        "/9j/9wALDAAIAAgBAREA/9oACAEBAAAAAJ/f399e399hQoEEEIQoUIRERAgRERJBBJJJBBJJ"
        "JCElVCFVUP/Z",
    ),
    "JPEG lossless": Sample(
        "1.2.840.10008.1.2.4.70",
        8,
        "/9j/wwALEAAIAAgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABwEQ/9oACAEBAAEAAMgICAgI"
        "CAgVAQEBAQEBAqAgICAgICBUBAQEBAQECoCAgICAgIFQEBAQEBAQKgICAgICAgVAQEBAQEBA"
        "/9k=",
    ),
}
