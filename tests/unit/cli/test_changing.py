"""The commands that change jobs or the queue, without a daemon."""

import pytest


def test_cancel_says_what_became_of_each(shell):
    shell.submit()
    result = shell("cancel", 1, 2, code=1)
    assert result.stdout == ""
    assert "canceled" in result.stderr.splitlines()[0]
    assert "no job 2: the newest in" in result.stderr.splitlines()[1]
    assert shell.json("list")[0]["status"] == "canceled"
    [answer] = shell.json("cancel", 1, code=1)
    assert (answer["id"], answer["ok"]) == (1, False)


def test_cancel_kill_of_a_running_job_is_begun(shell):
    queue, claim = shell.started()
    with queue:
        assert claim is not None
        assert not queue.cancel(1)
        assert queue.cancel(1, kill=True)
        assert queue.job(1).status == "canceling"
        claim.release()


def test_change_priority_changes_what_has_not_begun(shell):
    shell.submit()
    assert "1" in shell("change-priority", "--priority", -15, 1).stderr
    assert shell.json("list")[0]["priority"] == -15
    shell("cancel", 1)
    shell("change-priority", "--priority", 3, 1, code=1)


def test_archive_moves_only_what_has_ended(shell):
    shell.submit()
    assert "not finished: queued" in shell("archive", 1, code=1).stderr
    shell("cancel", 1)
    shell("archive", 1)
    assert "archived already" in shell("archive", 1, code=1).stderr
    assert shell.json("list", 1)[0]["archived"] is True


@pytest.mark.parametrize(("age", "archived"), [("all", 2), ("0", 2), ("1w", 0)])
def test_autoarchive_goes_by_age(shell, age, archived):
    for _ in range(3):
        shell.submit()
    shell("cancel", 1, 2)
    found = shell.json("autoarchive", age)
    assert found["archived"] == archived
    assert len(shell.json("list")) == 3 - archived


def test_drain_and_undrain(shell):
    assert shell.json("drain", "--reason", "why")["drain"]["reason"] == "why"
    assert shell.json("status")["drain"]["reason"] == "why"
    shell("submit", "--", "true", code=1)
    assert shell.json("undrain") == {"drain": None}
    assert "accepted" in shell("undrain").stderr
    shell.submit()


def test_pause_and_resume(shell):
    assert "Paused" in shell("pause").stderr
    assert shell.json("status")["pause"] is not None
    shell("resume")
    assert shell.json("status")["pause"] is None


def test_resolve_says_when_there_is_nothing_to_decide(shell):
    shell.submit()
    result = shell("resolve", 1, "--happened", code=1)
    assert result.stderr.count("\n") == 1


def test_wait_without_anybody_who_runs_jobs(shell):
    shell.submit()
    shell("wait", "--timeout", "0.05", 1, code=3)
    shell("wait", "--timeout", "0.05", "--idle", code=3)
    shell("cancel", 1)
    assert "canceled" in shell("wait", 1, code=1).stderr
    shell("wait", "--idle")
    assert shell.json("wait", 1, code=1)[0]["status"] == "canceled"
