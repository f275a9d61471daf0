import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.job.ids import archive_dir, job_file_name, parse_job_file_name, parse_job_id


@pytest.mark.parametrize("value", [0, 7, 10**18, "0", "7", "20010"])
def test_a_job_id_is_a_non_negative_int_or_the_same_as_text(value):
    assert parse_job_id(value) == int(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", "MXXI", " 7", "7\n", "+7", "-7", "07", "1_000", "٣", "²", "1e3", "7.0", "0x7"),
        *("9" * 19, "9" * 5000, -1, 10**18 + 1, 7.0, True, None, [], [7], {}, b"7"),
    ],
)
def test_anything_else_is_refused_as_a_job_id(value):
    with pytest.raises(InvalidJob) as caught:
        parse_job_id(value)
    assert caught.value.field == "id"
    assert len(str(caught.value)) < 200


@given(st.integers(0, 10**18))
def test_a_job_file_name_reads_back(job_id):
    assert parse_job_file_name(job_file_name(job_id)) == job_id
    assert parse_job_id(str(job_id)) == job_id


@pytest.mark.parametrize(
    "name",
    [
        *("job-", "job-01", "job-1e3", "job-1\n", "job--1", "job-1.tmp", "job-12-4711.tmp"),
        *("job-12ab3xyz.new", "Job-1", "xjob-1", "job-٣", "job-1\udcff", "", "serial"),
        *("job-" + "9" * 19, "job-" + "9" * 400),
    ],
)
def test_a_name_that_does_not_round_trip_is_no_job_file(name):
    assert parse_job_file_name(name) is None


@pytest.mark.parametrize(
    ("job_id", "directory"),
    [
        *((0, "archive/0"), (9999, "archive/0"), (10000, "archive/1"), (19999, "archive/1")),
        *((290000, "archive/29"), (299999, "archive/29"), (300000, "archive/30")),
    ],
)
def test_the_archive_directory_is_the_id_div_10000(job_id, directory):
    assert archive_dir(job_id) == directory


@pytest.mark.parametrize("value", [None, "x", -1])
def test_no_archive_directory_for_what_is_no_id(value):
    with pytest.raises(InvalidJob):
        archive_dir(value)
