"""The collector of cycles looks at all memory when the daemon can afford it, not at each batch."""

from tests.acceptance.conftest import until

TELLING = """
import gc

def tell(phase, info):
    if phase == "start" and info["generation"] == 2:
        with open({path!r}, "a") as told:
            told.write("x")

gc.callbacks.append(tell)
"""


def test_a_batch_of_10_000_jobs_holds_up_nobody_by_looks_at_all_memory(machine, tmp_path):
    told, source = tmp_path / "told", tmp_path / "telling.py"
    told.touch()
    source.write_text(TELLING.format(path=str(told)))
    machine.start(sources=(source,), workers=0)
    until(lambda: [1] if machine.client.has_owner else [])
    before = told.read_text()
    machine.client.submit_many([[{"OP_ID": "OP_X"}]] * 10_000)
    assert told.read_text() == before
