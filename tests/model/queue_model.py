"""What a queue should be, in plain dicts: no transactions, no documents, no durability."""

DAY_S = 86_400
FINAL = ("success", "error", "canceled")
LIMIT = 3


class No(Exception):  # an answer, not a fault
    """The model refuses; the text is the name of the error that the queue raises."""


class Model:
    """The queue as its users know it."""

    def __init__(self):
        self.serial = 0
        self.jobs = {}
        self.keys = {}
        self.drained = False
        self.paused = False
        self.now_s = 0

    # Looking

    def live(self, job):
        return job in self.jobs and self.jobs[job]["archived_at"] is None

    def status(self, job):
        return status_of([op["status"] for op in self.jobs[job]["ops"]])

    def next_op(self, job):
        for at, op in enumerate(self.jobs[job]["ops"]):
            if op["status"] not in FINAL:
                return at
        return None

    def unfinished(self):
        return [job for job in self.jobs if self.live(job) and self.status(job) not in FINAL]

    def priority(self, job):
        ops = [op for op in self.jobs[job]["ops"] if op["status"] not in FINAL]
        return min((op["priority"] for op in ops), default=0)

    def targets(self, job):
        """All jobs that any opcode of the job depends on."""
        return {target for op in self.jobs[job]["ops"] for target, _ in op["depends"]}

    # Submitting

    def submit(self, specs, key=None, unique=None, retry_of=None):
        if key is not None:
            known = self.known(key, [specs])
            if known is not None:
                return known[0]
        if unique is not None:
            for job in self.unfinished():
                if self.jobs[job]["unique"] == unique:
                    if key is not None:
                        self.keys[key] = ([specs], [job])
                    return job
        if self.drained:
            raise No("QueueDrained")
        job = self.place([specs], key=key, unique=unique, retry_of=retry_of)[0]
        if job is None:
            raise No("InvalidJob")
        if key is not None:
            self.keys[key] = ([specs], [job])
        return job

    def submit_many(self, entries, key=None, atomic=False):
        if key is not None:
            known = self.known(key, entries)
            if known is not None:
                return known
        if self.drained:
            raise No("QueueDrained")
        if atomic:
            ids = self.would_place(entries)
            if None in ids:
                raise No("InvalidJob")
        ids = self.place(entries, key=key)
        if key is not None and any(ids):
            self.keys[key] = (entries, ids)
        return ids

    def known(self, key, content):
        if key not in self.keys:
            return None
        before, ids = self.keys[key]
        jobs = [job for job in ids if job is not None]
        if not any(self.live(job) for job in jobs):
            # A job that got the key because of its unique name does not carry it.
            archived = [self.jobs[j]["archived_at"] for j in jobs if self.jobs[j]["key"] == key]
            if not archived or self.now_s >= max(archived) + DAY_S:
                return None
        if before != content:
            raise No("KeyConflict")
        return ids

    def would_place(self, entries):
        ids, serial = [], self.serial
        for index, specs in enumerate(entries):
            good = bool(specs) and all(
                (target in self.jobs or target in ids)
                if target > 0
                else (index + target >= 0 and ids[index + target] is not None)
                for spec in specs
                for target, _ in spec["depends"]
            )
            serial += good
            ids.append(serial if good else None)
        return ids

    def place(self, entries, submitter=None, key=None, unique=None, retry_of=None):
        ids = self.would_place(entries)
        for index, (job, specs) in enumerate(zip(ids, entries, strict=True)):
            if job is None:
                continue
            self.serial = job
            ops = [new_op(spec, index, ids) for spec in specs]
            for op in ops:
                known = {target: self.status(target) for target, _ in op["depends"]}
                op["knew"] = {job: status for job, status in known.items() if status in FINAL}
            self.jobs[job] = {
                "ops": ops,
                "archived_at": None,
                "key": key,
                "unique": unique,
                "retry_of": retry_of,
                "submitter": submitter,
            }
        return ids

    # Changing

    def cancel(self, job, kill):
        if not self.live(job):
            return False
        status = self.status(job)
        if status in FINAL or (status == "running" and not kill):
            return False
        after = "canceling" if status in ("running", "canceling") else "canceled"
        self.end_rest(job, after)
        return True

    def cancel_done(self, job):
        if not self.live(job) or self.status(job) != "canceling":
            raise No("Refused")
        self.end_rest(job, "canceled")

    def end_rest(self, job, status):
        for op in self.jobs[job]["ops"]:
            if op["status"] not in FINAL:
                op["status"] = status

    def change_priority(self, job, priority):
        if not self.live(job) or self.status(job) in (*FINAL, "canceling"):
            return False
        queued = [op for op in self.jobs[job]["ops"] if op["status"] == "queued"]
        for op in queued:
            op["priority"] = priority
        return bool(queued)

    def archive(self, job):
        if not self.live(job) or self.status(job) not in FINAL:
            return False
        self.jobs[job]["archived_at"] = self.now_s
        return True

    def retry(self, job, from_failed):
        if job not in self.jobs:
            raise No("JobNotFound")
        for other in self.unfinished():
            if self.jobs[other]["retry_of"] == job:
                return other
        if self.status(job) not in FINAL:
            raise No("Refused")
        ops = self.jobs[job]["ops"]
        chosen = [op for op in ops if not from_failed or op["status"] != "success"]
        if not chosen:
            raise No("Refused")
        specs = [
            {**op["spec"], "depends": [entry for entry in op["depends"] if not self.met(op, entry)]}
            for op in chosen
        ]
        return self.submit(specs, retry_of=job)

    def met(self, op, entry):
        """Whether the queue knew, when the opcode started or before, that this was met."""
        target, wanted = entry
        status = op["knew"].get(target)
        return status in wanted if wanted else status in ("success", "error")

    # Running

    def verdict(self, job, at):
        for target, wanted in self.jobs[job]["ops"][at]["depends"]:
            status = self.status(target)
            if status not in FINAL:
                return "wait"
            if status in wanted or (not wanted and status != "canceled"):
                continue
            return "cancel" if status == "canceled" else "wrongstatus"
        return "continue"

    def judge(self, job):
        if not self.live(job):
            raise No("JobNotFound")
        at = self.next_op(job)
        if at is None or self.jobs[job]["ops"][at]["status"] != "queued":
            return "continue"
        verdict = self.verdict(job, at)
        if verdict == "cancel":
            self.end_rest(job, "canceled")
            self.learn(job, at)
        elif verdict == "wrongstatus":
            self.end_rest(job, "error")
            self.learn(job, at)
        return verdict

    def learn(self, job, at):
        op = self.jobs[job]["ops"][at]
        op["knew"] = {target: self.status(target) for target, _ in op["depends"]}

    def start(self, job, at):
        if self.paused:
            raise No("Refused")
        if not self.live(job):
            raise No("JobNotFound")
        op = self.jobs[job]["ops"][at] if at < len(self.jobs[job]["ops"]) else None
        if op is None or self.next_op(job) != at or op["status"] != "queued":
            raise No("Refused")
        if self.verdict(job, at) != "continue":
            raise No("Refused")
        op["status"] = "running"
        self.learn(job, at)

    def finish(self, job, at, token, ok, children, strict):
        """Return (status, ids of children or None)."""
        op = self.jobs[job]["ops"][at]
        if op["token"] == token and op["status"] in ("success", "error", "queued"):
            return op["status"], op["children"] if op["status"] == "success" else []
        if not self.live(job) or op["status"] != "running" or op["token"] != token:
            raise No("Refused")
        placed = []
        if ok:
            ids = [None] * len(children) if self.drained else self.would_place(children)
            if strict and None in ids:
                ok = False
            elif not self.drained:
                inherited = [[inheriting(spec, op) for spec in specs] for specs in children]
                placed = self.place(inherited, submitter=(job, at))
            else:
                placed = ids
        if ok:
            op |= {"status": "success", "children": placed}
            return "success", placed
        op["failures"] += 1
        if op["failures"] <= op["spec"]["retries"]:
            op["status"] = "queued"
            return "queued", []
        self.end_rest(job, "error")
        return "error", []

    def interrupted(self, job, at, token):
        op = self.jobs[job]["ops"][at]
        running = op["status"] in ("running", "canceling") and op["token"] == token
        if not self.live(job) or not running:
            raise No("Refused")
        op["token"] = None
        if op["status"] == "canceling":
            self.end_rest(job, "canceled")
            return "canceled"
        op["interruptions"] += 1
        if op["interruptions"] > LIMIT:
            self.end_rest(job, "error")
            return "error"
        op["status"] = "queued"
        return "queued"


def new_op(spec, index, ids):
    """An opcode of the model; its dependencies made absolute."""
    return {
        "spec": spec,
        "depends": [
            [target if target > 0 else ids[index + target], wanted]
            for target, wanted in spec["depends"]
        ],
        "status": "queued",
        "priority": spec["priority"] or 0,
        "token": None,
        "failures": 0,
        "interruptions": 0,
        "children": [],
        "knew": {},
    }


def inheriting(spec, parent):
    """A child's opcode, with the priority of the opcode that submits it where it has none."""
    own = spec["priority"]
    return {**spec, "priority": (parent["priority"] or None) if own is None else own}


def status_of(statuses):
    """A job's status, told backwards: the first bad one, else the last begun one, else the rest."""
    for status in statuses:
        if status in ("error", "canceling", "canceled"):
            return status
    for status in reversed(statuses):
        if status in ("waiting", "running"):
            return status
    return "success" if all(status == "success" for status in statuses) else "queued"
