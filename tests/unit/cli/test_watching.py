"""`watch` of a job that has ended, or ends under its eyes."""

import json


def test_an_ended_job_is_told_in_order(shell):
    queue, claim = shell.started()
    with queue:
        claim.feedback("hello")
        claim.finish("done")
    assert shell("watch", 1).stdout.splitlines() == [
        "hello",
        "opcode 0 X: success",
        "job 1: success",
    ]
    lines = [json.loads(line) for line in shell("watch", "--json", 1).stdout.splitlines()]
    assert lines[0]["message"] == "hello"
    assert lines[1:] == [{"op": 0, "status": "success"}, {"op": None, "status": "success"}]


def test_a_failed_or_canceled_job_is_exit_code_1(shell):
    shell.submit()
    shell("cancel", 1)
    result = shell("watch", 1, code=1)
    assert result.stdout.splitlines() == ["opcode 0 EXEC(true): canceled", "job 1: canceled"]
