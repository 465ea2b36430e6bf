"""Numbers as people, programs and addresses write them: of any length, and nothing that is none."""

import re

MOST = 10**9 - 1
"""More than anything has that is counted here. Python itself refuses to read more than 4,300 digits."""
_DECIMAL = re.compile(r"\d{1,9}(\.\d*)?|\.\d+", re.ASCII)


def read_integer(text: str, most: int = MOST) -> int | None:
    """The number from 0 to `most` that decimal digits write; None where the text is none.

    Digits of any script are read, as Python reads them: ٣ is 3, and ² is no number.
    """
    written = text.isdecimal() and len(text) <= len(str(most))
    return int(text) if written and int(text) <= most else None


def read_decimal(text: str) -> float | None:
    """The number from 0 to `MOST` that is written as `3`, `3.5` or `.5`; None where the text is none."""
    return float(text) if _DECIMAL.fullmatch(text) else None
