"""The transcript API's batch jobs against the real binary: every field of theirs is stored and read back, in the application's own order of calls."""

import json
import sys
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from connection import CALL_SECONDS_MAX, open_channel
from pannier.jobs.v1 import jobs_pb2 as jobs
from pannier.jobs.v1.jobs_pb2_grpc import JobsServiceStub
from report import Report, expect, expect_that
from sidecar import Sidecar, binary

CREATED = Timestamp(seconds=1_700_000_000, nanos=5_000)


class BatchJobs:
    """The repository of the application: its calls and its words."""

    STATUSES = {
        "pending": jobs.JOB_STATUS_PENDING,
        "processing": jobs.JOB_STATUS_PROCESSING,
        "completed": jobs.JOB_STATUS_COMPLETED,
        "failed": jobs.JOB_STATUS_FAILED,
        "aborted": jobs.JOB_STATUS_ABORTED,
    }

    def __init__(self, channel):
        self.stub = JobsServiceStub(channel)

    def create(self, job_id, kind, total=None, metadata=None, created=None):
        """Makes a job; ids are the application's UUIDs."""
        request = jobs.CreateRequest(job_id=job_id, type=kind, metadata_json=json.dumps(metadata or {}))
        if total is not None:
            request.total_count = total
        if created is not None:
            request.create_time.CopyFrom(created)
        return self.stub.Create(request, timeout=CALL_SECONDS_MAX).job

    def get(self, job_id):
        """One job."""
        return self.stub.Get(jobs.GetRequest(job_id=job_id), timeout=CALL_SECONDS_MAX).job

    def update_status(self, job_id, status, error=None):
        """To a status, with the error of a failure."""
        request = jobs.UpdateStatusRequest(job_id=job_id, status=self.STATUSES[status])
        if error is not None:
            request.error.message = error
        return self.stub.UpdateStatus(request, timeout=CALL_SECONDS_MAX).job

    def update_progress(self, job_id, successful, failed):
        """Progress is reported beside results."""
        counts = jobs.ProgressCounts(successful_count=successful, failed_count=failed)
        request = jobs.ReportProgressRequest(job_id=job_id, set=counts)
        return self.stub.ReportProgress(request, timeout=CALL_SECONDS_MAX).job

    def complete(self, job_id):
        """Done."""
        return self.stub.Complete(jobs.CompleteRequest(job_id=job_id), timeout=CALL_SECONDS_MAX).job

    def learn(self, job_id, metadata):
        """A title is learned after the job was made."""
        request = jobs.UpdateJobRequest(job_id=job_id, metadata_json=json.dumps(metadata))
        return self.stub.UpdateJob(request, timeout=CALL_SECONDS_MAX).job

    def add_result(self, job_id, video_id, url, error=None, milliseconds=None):
        """The result of one video, which a playlist may hold twice."""
        result = jobs.NewResult(url=url, success=error is None, data_json=json.dumps({"videoId": video_id}))
        if error is not None:
            result.error.code, result.error.message = error
        if milliseconds is not None:
            result.processing_time.CopyFrom(Duration(nanos=milliseconds * 1_000_000))
        request = jobs.AddResultsRequest(job_id=job_id, results=[result], request_id=str(uuid.uuid4()))
        return self.stub.AddResults(request, timeout=CALL_SECONDS_MAX)

    def results(self, job_id):
        """All results in their order."""
        return self.stub.ListResults(jobs.ListResultsRequest(job_id=job_id), timeout=CALL_SECONDS_MAX).results

    def recent(self, **query):
        """The newest jobs, of a status or of all."""
        return self.stub.List(jobs.ListRequest(**query), timeout=CALL_SECONDS_MAX).jobs

    def delete(self, job_id):
        """A job with its results."""
        return self.stub.Delete(jobs.DeleteRequest(job_id=job_id), timeout=CALL_SECONDS_MAX).deleted


def main():
    """Runs everything; the exit code tells whether all of it held."""
    report = Report("python batch jobs")
    print(f"  binary {binary()}")
    with Sidecar() as sidecar, open_channel(sidecar.target("tcp")) as channel:
        repository = BatchJobs(channel)
        playlist(report, repository)
        ends(report, repository)
        lists(report, repository)
    return report.finish()


def playlist(report, repository):
    """A playlist with one video twice, from its creation to its end."""
    job_id = str(uuid.uuid4())
    metadata = {"playlistUrl": "https://example.org/list", "playlistId": "PL1"}
    with report.step("a job keeps its id, type, total, metadata and the time that it was created elsewhere"):
        job = repository.create(job_id, "playlist", total=3, metadata=metadata, created=CREATED)
        expect((job.id, job.type, job.total_count, job.processed_count), (job_id, "playlist", 3, 0), "job")
        expect((json.loads(job.metadata_json), job.create_time), (metadata, CREATED), "metadata, created")
        expect(job.status, repository.STATUSES["pending"], "status")
    with report.step("results come before and beside the status and the progress, and a video comes twice"):
        repository.add_result(job_id, "v1", "https://example.org/v1", milliseconds=250)
        repository.update_status(job_id, "processing")
        repository.update_progress(job_id, 1, 0)
        repository.add_result(job_id, "v2", "https://example.org/v2", error=("NO_CAPTIONS", "none"), milliseconds=7)
        job = repository.update_progress(job_id, 1, 1)
        expect(job.counted_by, jobs.JOB_COUNTED_BY_RESULTS, "counted by")
        repository.add_result(job_id, "v1", "https://example.org/v1")
        job = repository.get(job_id)
        expect((job.processed_count, job.successful_count, job.failed_count), (3, 2, 1), "counts")
    with report.step("a title is learned later; the same status and a second completion are no errors"):
        repository.learn(job_id, {**metadata, "title": "T"})
        repository.update_status(job_id, "processing")
        done = repository.complete(job_id)
        expect(repository.complete(job_id), done, "the second completion")
        expect(json.loads(done.metadata_json)["title"], "T", "title")
        expect_that(done.HasField("end_time") and done.HasField("update_time"), "times of the end")
    with report.step("each result has video, url, success, error, time and creation"):
        results = repository.results(job_id)
        expect([json.loads(result.data_json)["videoId"] for result in results], ["v1", "v2", "v1"], "videos")
        expect([result.success for result in results], [True, False, True], "success")
        expect((results[1].error.code, results[1].error.message), ("NO_CAPTIONS", "none"), "error")
        expect([result.processing_time.nanos // 1_000_000 for result in results], [250, 7, 0], "milliseconds")
        expect_that(all(result.HasField("create_time") for result in results), "creation")
        expect(results[0].url, "https://example.org/v1", "url")
    with report.step("deleting a job deletes its results"):
        expect(repository.delete(job_id), True, "deleted")
        try:
            repository.results(job_id)
        except grpc.RpcError as error:
            expect(error.code(), grpc.StatusCode.NOT_FOUND, "code")
        else:
            expect_that(False, "it must be gone")


def ends(report, repository):
    """The other ends of a job."""
    with report.step("a job fails with a message, which stays; another message for the same status is refused"):
        job = repository.create(str(uuid.uuid4()), "batch")
        failed = repository.update_status(job.id, "failed", error="quota")
        expect((failed.error.message, repository.update_status(job.id, "failed").error.message), ("quota", "quota"), "error")
        try:
            repository.update_status(job.id, "failed", error="other")
        except grpc.RpcError as error:
            expect(error.code(), grpc.StatusCode.FAILED_PRECONDITION, "code")
        else:
            expect_that(False, "it must be refused")
    with report.step("a job is aborted"):
        job = repository.create(str(uuid.uuid4()), "batch", total=9)
        expect(repository.update_status(job.id, "aborted").status, repository.STATUSES["aborted"], "status")


def lists(report, repository):
    """Recent jobs, and jobs by status."""
    with report.step("recent jobs come the newest first, also by status"):
        made = [repository.create(str(uuid.uuid4()), "batch").id for _ in range(3)]
        expect([job.id for job in repository.recent(page_size=3)], made[::-1], "recent")
        failed = repository.recent(statuses=[jobs.JOB_STATUS_FAILED])
        expect([job.error.message for job in failed], ["quota"], "failed jobs")


if __name__ == "__main__":
    sys.exit(main())
