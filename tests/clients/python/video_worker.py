"""The video worker's queue against the real binary: every field of a task is stored and read back, and workers choose their order."""

import json
import sys
import threading

from google.protobuf.duration_pb2 import Duration

from connection import CALL_SECONDS_MAX, open_channel
from pannier.queue.v1 import queue_pb2 as queue
from pannier.queue.v1.queue_pb2_grpc import QueueServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

TYPES = ("channel_scrape", "trending_scrape", "keyword_search")


class Tasks:
    """The repository of the application."""

    def __init__(self, channel):
        self.stub = QueueServiceStub(channel)

    def add(self, kind, parameters, priority=5, max_retries=3):
        """Queues a task; answers with its id."""
        item = queue.EnqueueItem(
            type=kind, parameters_json=json.dumps(parameters), priority=priority, max_retries=max_retries
        )
        return self.stub.Enqueue(queue.EnqueueRequest(item=item), timeout=CALL_SECONDS_MAX).enqueued.task_id

    def get(self, task_id):
        """One task."""
        return self.stub.Get(queue.GetRequest(task_id=task_id), timeout=CALL_SECONDS_MAX).task

    def list(self, **query):
        """Tasks by conditions."""
        return self.stub.List(queue.ListRequest(**query), timeout=CALL_SECONDS_MAX).tasks

    def register(self, name):
        """Makes a worker known."""
        request = queue.RegisterWorkerRequest(name=name, metadata_json='{"pid":1}')
        return self.stub.RegisterWorker(request, timeout=CALL_SECONDS_MAX).worker.id

    def claim(self, worker_id, count=1, order=queue.CLAIM_ORDER_UNSPECIFIED):
        """Claims tasks in an order of the worker's own."""
        claiming = queue.Claiming(worker_id=worker_id, max_tasks=count, order=order)
        return self.stub.Claim(queue.ClaimRequest(claiming=claiming), timeout=CALL_SECONDS_MAX).tasks

    def tell(self, *outcomes):
        """Reports outcomes."""
        return self.stub.Settle(queue.SettleRequest(outcomes=outcomes), timeout=CALL_SECONDS_MAX).results


def outcome(task, **what):
    """What became of a task."""
    return queue.Outcome(task_id=task.id, token=task.token, **what)


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python video worker")
    print(f"  binary {binary()}")
    with Sidecar() as sidecar, open_channel(sidecar.target("tcp")) as channel:
        tasks = Tasks(channel)
        fields(report, tasks)
        orders(report, tasks)
        ends(report, tasks)
    return report.finish()


def fields(report, tasks):
    """All fields of a task, from queued to completed."""
    worker = tasks.register("host-1")
    with report.step("a task keeps type, parameters, priority, retries, worker, result and times"):
        parameters = {"channel": "c1", "pages": [1, 2]}
        task_id = tasks.add("channel_scrape", parameters, priority=7)
        made = tasks.get(task_id)
        expect((made.type, json.loads(made.parameters_json)), ("channel_scrape", parameters), "type, parameters")
        expect((made.priority, made.max_retries, made.state), (7, 3, queue.TASK_STATE_QUEUED), "priority, retries, state")
        (claimed,) = tasks.claim(worker)
        expect((claimed.id, claimed.state, claimed.worker_id), (task_id, queue.TASK_STATE_CLAIMED, worker), "claimed")
        expect_that(claimed.HasField("claim_time"), "claimed at")
        tasks.tell(outcome(claimed, start=queue.StartOutcome()))
        line = queue.ReportOutcome(progress=0.5, message="page 1", details_json='{"page":1}')
        tasks.tell(outcome(claimed, report=line))
        expect((tasks.get(task_id).progress, tasks.get(task_id).progress_message), (0.5, "page 1"), "progress")
        expect(tasks.get(task_id).state, queue.TASK_STATE_RUNNING, "state")
        tasks.tell(outcome(claimed, complete=queue.CompleteOutcome(result_json='{"found":12}')))
        done = tasks.get(task_id)
        expect((done.state, done.result_json, done.worker_name), (queue.TASK_STATE_COMPLETED, '{"found":12}', "host-1"), "done")
        expect(done.update_time, done.finish_time, "updated, completed")
    with report.step("a failed attempt counts, is retried, and its message stays"):
        task_id = tasks.add("trending_scrape", {}, max_retries=1)
        (claimed,) = tasks.claim(worker)
        fail = queue.FailOutcome(error="503", retry_delay=Duration())
        tasks.tell(outcome(claimed, fail=fail))
        again = tasks.get(task_id)
        expect((again.failure_count, again.error, again.state), (1, "503", queue.TASK_STATE_QUEUED), "retried")
        (claimed,) = tasks.claim(worker)
        tasks.tell(outcome(claimed, fail=fail))
        expect(tasks.get(task_id).state, queue.TASK_STATE_FAILED, "state")
    with report.step("the log tells every event of the task"):
        request = queue.LogsRequest(task_id=task_id)
        kinds = [event.kind for event in tasks.stub.Logs(request, timeout=CALL_SECONDS_MAX).events]
        expect((kinds[0], kinds[-1]), (queue.TASK_EVENT_KIND_ENQUEUED, queue.TASK_EVENT_KIND_FAILED), "first, last")
        expect(kinds.count(queue.TASK_EVENT_KIND_CLAIMED), 2, "claims")
    with report.step("tasks are listed by worker and by several states; the worker's tasks are told"):
        finished = [queue.TASK_STATE_COMPLETED, queue.TASK_STATE_FAILED]
        expect(len(tasks.list(worker_name="host-1", states=finished)), 2, "finished by the worker")
        workers = tasks.stub.ListWorkers(queue.ListWorkersRequest(), timeout=CALL_SECONDS_MAX).workers
        told = [(found.name, len(found.task_ids), found.completed_count, found.failed_count) for found in workers]
        expect(told, [("host-1", 0, 1, 2)], "workers")


def orders(report, tasks):
    """FIFO, LIFO or strict priority, chosen per worker."""
    worker = tasks.register("host-2")
    priorities = [5, 1, 10, 5]
    for order, expected in (
        (queue.CLAIM_ORDER_PRIORITY, [10, 5, 5, 1]),
        (queue.CLAIM_ORDER_FIFO, [5, 1, 10, 5]),
        (queue.CLAIM_ORDER_LIFO, [5, 10, 1, 5]),
    ):
        with report.step(f"tasks are claimed by {queue.ClaimOrder.Name(order)}"):
            for kind, priority in zip(TYPES * 2, priorities):
                tasks.add(kind, {}, priority=priority)
            claimed = [task for _ in priorities for task in tasks.claim(worker, order=order)]
            expect([task.priority for task in claimed], expected, "priorities")
            tasks.tell(*[outcome(task, complete=queue.CompleteOutcome()) for task in claimed])


def ends(report, tasks):
    """The producer waits for the ends of its tasks; a result that is too large is an error of its own."""
    worker = tasks.register("host-3")
    with report.step("a stream tells the ends of tasks to the one who queued them"):
        ids = [tasks.add("keyword_search", {"q": number}) for number in range(3)]
        ended = {}

        def wait():
            for message in tasks.stub.Watch(queue.WatchRequest(task_ids=ids), timeout=CALL_SECONDS_MAX):
                if message.task.HasField("finish_time"):
                    ended[message.task_id] = message.task.result_json

        waiter = threading.Thread(target=wait)
        waiter.start()
        for task in tasks.claim(worker, count=3):
            tasks.tell(outcome(task, complete=queue.CompleteOutcome(result_json=str(task.id))))
        waiter.join(CALL_SECONDS_MAX)
        expect(ended, {task_id: str(task_id) for task_id in ids}, "ends")
    with report.step("a result beyond the limit leaves the task held; the worker then reports a failure"):
        tasks.add("keyword_search", {})
        (task,) = tasks.claim(worker)
        large = queue.CompleteOutcome(result_json=json.dumps("x" * (1 << 20)))
        (result,) = tasks.tell(outcome(task, complete=large))
        expect_that("queue.result_bytes_max" in result.error.message, result.error.message)
        (result,) = tasks.tell(outcome(task, fail=queue.FailOutcome(error="RESULT_TOO_LARGE", final=True)))
        expect(result.settled.state, queue.TASK_STATE_FAILED, "state")


if __name__ == "__main__":
    sys.exit(main())
