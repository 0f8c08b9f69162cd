"""The code that the tests deploy: Lambda handlers and the program of a container."""

LAMBDAS = """
import json, os, time, urllib.request, uuid
import boto3

S3 = boto3.client("s3")
N_CALLS = 0


def greet(event, context):
    global N_CALLS
    N_CALLS += 1
    print("greeting", event["name"])
    if event["name"] == "nobody":
        raise ValueError("there is nobody to greet")
    return {"hello": event["name"], "n_calls": N_CALLS, "function": context.function_name,
            "left_ms": context.get_remaining_time_in_millis(), "environment": dict(os.environ)}


def hang(event, context):
    time.sleep(60)


def each_minute(event, context):
    S3.put_object(Bucket=os.environ["RESULTS_BUCKET"], Key=f"ticks/{uuid.uuid4()}", Body=b"")


def consume(event, context):
    bodies = {record["messageId"]: record["body"] for record in event["Records"]}
    for body in bodies.values():
        if body == "poison":
            raise ValueError("poison")
        if not body.startswith("bad"):
            S3.put_object(Bucket=os.environ["RESULTS_BUCKET"], Key=f"consumed/{body}", Body=b"")
    return {"batchItemFailures": [{"itemIdentifier": i} for i, body in bodies.items() if body.startswith("bad")]}


def answer(event, context):
    properties = event["ResourceProperties"]
    reply = {"Status": "SUCCESS", "PhysicalResourceId": "it", "StackId": event["StackId"],
             "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"],
             "Data": {"Answer": f"{properties['Yes']} {properties['Number']}"}}
    if properties.get("Fail"):
        reply.update(Status="FAILED", Reason="as it was asked to")
    body = json.dumps(reply).encode()
    urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], data=body, method="PUT"))
"""

SLOW_TO_LOAD = """
import time

time.sleep(1.5)


def greet(event, context):
    return context.get_remaining_time_in_millis()
"""

DOCKERFILE = """
FROM python:3.13 AS build
ENTRYPOINT ["false"]
FROM python:3.13-slim
ENV COLOUR=green \\
    NUMBER="3"
ENTRYPOINT ["python", "-m", "worker"]
CMD ["exit", "0"]
"""

WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

verb = sys.argv[1]
if verb == "serve":
    # It starts a process of its own, which must not outlive it.
    child = subprocess.Popen(["sleep", "1000"])
    signal.signal(signal.SIGTERM, lambda *_: (print("goodbye"), sys.exit(0)))
    print(json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}))
    while True:
        time.sleep(0.1)
if verb == "list":
    # What stands in the folder, and a file of its own beside its temporary ones.
    folder = Path(os.environ["FOLDER"])
    print(json.dumps({str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}))
    with open(os.path.join(os.environ["TMPDIR"], "left"), "a") as left:
        left.write("x")
    print(os.environ["TMPDIR"])
if verb == "sleep":
    time.sleep(float(sys.argv[2]))
if verb == "fail-once":
    print("exiting")
    sys.exit(int(sys.argv[2]) if os.environ["AWS_BATCH_JOB_ATTEMPT"] == "1" else 0)
if verb == "exit":
    print("exiting")
    sys.exit(int(sys.argv[2]))
"""
