"""Stands for the ECS agent's endpoint: answers as it does, keeps the task's state, and fails as told."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARN = "arn:aws:ecs:us-east-1:123456789012:task/cluster/1234567890abcdef0"
BLOCKED = (200, {"failure": {"Arn": ARN, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}})
THROTTLED = (
    400,
    {"requestID": "1-2", "error": {"Arn": ARN, "Code": "ThrottlingException", "Message": "Rate exceeded"}},
)
TIMED_OUT = (504, {"error": {"Arn": ARN, "Code": "RequestCanceled", "Message": "Timed out calling Amazon ECS"}})
ODD = [(200, {}), (200, []), (200, None), (200, {"protection": None}), (200, {"failure": {}}), (500, {"error": "no"})]


class Agent:
    def __init__(self, port):
        self.uri = f"http://127.0.0.1:{port}/api/0123"
        self.asked = []
        """The bodies of all requests that were granted."""
        self.n_requests = 0
        self.is_protected = False
        self.refusal = None
        self.delay_s = 0.0

    def put(self, body):
        self.n_requests += 1
        if self.refusal is not None:
            return self.refusal
        self.asked.append(body)
        self.is_protected = body["ProtectionEnabled"]
        time.sleep(self.delay_s)
        state = {"ProtectionEnabled": self.is_protected, "TaskArn": ARN}
        state["ExpirationDate"] = "2026-11-03T02:29:16Z" if self.is_protected else None
        return 200, {"protection": state}


@contextmanager
def running_agent():
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == "application/json"
            assert self.path == "/api/0123/task-protection/v1/state"
            assert set(body) <= {"ProtectionEnabled", "ExpiresInMinutes"}  # the agent refuses any other field
            status, answer = agent.put(body)
            text = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except ConnectionError:
                pass  # whoever asked has lost patience

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        agent = Agent(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield agent
        finally:
            server.shutdown()
            thread.join()
