"""FORMAT.md's worked example is what the program reads and writes."""

import re
from pathlib import Path

from jqueue.store.record import encode_header, encode_line, seed
from jqueue.store.segment import parse_segment

FORMAT = Path(__file__).parents[3] / "FORMAT.md"


def test_the_worked_example_of_the_format_document_reads_and_writes_back() -> None:
    lines = re.findall(r"^    ([0-9a-f]{8} \{.*\})$", FORMAT.read_text(), re.MULTILINE)
    data = "".join(line + "\n" for line in lines).encode()
    segment = parse_segment(data, 1, "example")
    assert segment.bad_offset is None
    assert [found.lsn for found in segment.records] == [1, 2]
    assert segment.claim == 1
    start = seed(segment.header.generation)
    written = [encode_header(segment.header)]
    written += [encode_line(found.value, start) for found in segment.records]
    assert b"".join(written) == data


def test_a_damaged_byte_anywhere_in_the_example_is_never_read_as_a_record() -> None:
    lines = re.findall(r"^    ([0-9a-f]{8} \{.*\})$", FORMAT.read_text(), re.MULTILINE)
    data = "".join(line + "\n" for line in lines).encode()
    whole = parse_segment(data, 1, "example")
    first = data.index(b"\n") + 1
    for at in range(first, len(data)):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        read = parse_segment(damaged, 1, "example")
        assert read.bad_offset is not None
        good = {found.value["lsn"]: found.value for found in whole.records}
        assert all(good[found.lsn] == found.value for found in [*read.records, *read.later])
