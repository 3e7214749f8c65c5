"""A `tidemill dev` of its own, its commands, and its REST and gRPC interfaces."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from written import parse_json

PATIENCE_SECONDS = 60
IDLE_SECONDS = 2


class World:
    """Runs in a folder until it is stopped."""

    def __init__(self, folder):
        self.folder = folder
        self.dev = subprocess.Popen(
            ["tidemill", "dev"], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        for line in self.dev.stderr:
            if "next: tidemill apply" in line:
                break
        else:
            raise SystemExit("tidemill dev did not start; see .tidemill/logs")
        self.places = json.loads((folder / ".tidemill/dev.json").read_text())
        self.rest = Rest(self.places["server"])
        self.serve = Rest(self.places["serve_http"])

    def stop(self):
        """In order, as Ctrl-C does."""
        self.dev.send_signal(signal.SIGINT)
        self.dev.communicate()

    def start(self, *arguments):
        """One command under way. Its server is named, so that it needn't look for the folder's."""
        return subprocess.Popen(
            ["tidemill", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"TIDEMILL_SERVER_URL": f"http://{self.places['server']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments):
        """One command that must succeed; what it prints."""
        return ended(self.start(*arguments))

    def json(self, *arguments):
        """One command that must succeed; its result, whose numbers keep their text."""
        return parse_json(self.run(*arguments, "-o", "json"))

    def refused(self, *arguments):
        """One command that must fail; what it says."""
        command = self.start(*arguments)
        out, errors = command.communicate()
        return None if command.returncode == 0 else (out + errors).decode()

    def many(self, commands, wanted):
        """Many commands, a few at a time: each with its result, or the error instead, and what is wanted of it."""
        most, waiting = os.cpu_count() or 2, []
        for words, want in zip(commands, wanted, strict=False):
            waiting.append((words, self.start(*words, "-o", "json"), want))
            if len(waiting) >= most:
                yield finished(*waiting.pop(0))
        for one in waiting:
            yield finished(*one)

    def settled(self, views):
        """Waits until views have all that was uploaded."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = {row["view"]: row for row in self.rest.get("/v1/features")["items"]}
            failed = [found[view] for view in views if found[view].get("failed")]
            if failed:
                raise SystemExit(f"a view failed: {failed}")
            if all(found[view]["commits_behind"] == "0" for view in views):
                return
            time.sleep(0.2)
        raise SystemExit(f"the views are still behind: {found}")

    def grpc(self, place, service):
        """The methods of a service, by its own description of itself."""
        return Stub(self.places[place], service)


def finished(words, command, wanted):
    """One of many commands."""
    out, errors = command.communicate()
    return shlex.join(words), parse_json(out or errors), wanted


def ended(command):
    """What a command printed, if it went well."""
    out, errors = command.communicate()
    if command.returncode:
        sys.stdout.flush()
        raise SystemExit(f"{' '.join(command.args)}\n{out.decode()}{errors.decode()}")
    return out.decode()


class Rest:
    """One server over HTTP, on one connection."""

    def __init__(self, place):
        self.connection = http.client.HTTPConnection(place, timeout=PATIENCE_SECONDS)
        self.used_at = time.monotonic()

    def send(self, method, path, body=None):
        """Status, and the body as JSON or as bytes."""
        kind = (
            "application/octet-stream"
            if isinstance(body, bytes)
            else "application/json"
        )
        sent = body.encode() if isinstance(body, str) else body
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            # The server may be about to close it; the next request opens another.
            self.connection.close()
        self.used_at = time.monotonic()
        self.connection.request(method, path, sent, {"content-type": kind})
        reply = self.connection.getresponse()
        body, json_ = reply.read(), "json" in (reply.getheader("content-type") or "")
        return reply.status, parse_json(body) if json_ else body

    def get(self, path):
        """What is there."""
        status, body = self.send("GET", path)
        if status != 200:
            raise SystemExit(f"GET {path}: {status} {body}")
        return body

    def post(self, path, body):
        """What is answered, if it went well."""
        status, answer = self.send("POST", path, body)
        if status != 200:
            raise SystemExit(f"POST {path}: {status} {answer}")
        return answer


class Stub:
    """A service over gRPC; its messages are those that its reflection describes."""

    def __init__(self, place, service):
        self.channel = grpc.insecure_channel(place)
        self.pool = descriptor_pool.DescriptorPool(
            ProtoReflectionDescriptorDatabase(self.channel)
        )
        self.service = self.pool.FindServiceByName(service)

    def message(self, method):
        """An empty request of a method."""
        return message_factory.GetMessageClass(
            self.service.FindMethodByName(method).input_type
        )()

    def call(self, method, request):
        """The reply, or the replies of a stream."""
        described = self.service.FindMethodByName(method)
        reply = message_factory.GetMessageClass(described.output_type)
        kind = (
            self.channel.unary_stream
            if described.server_streaming
            else self.channel.unary_unary
        )
        path = f"/{self.service.full_name}/{method}"
        call = kind(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        return call(request, timeout=PATIENCE_SECONDS)


def plain(value):
    """A value of a gRPC struct as Python has it."""
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null_value") else getattr(value, kind)


def refusal(call):
    """What a call over gRPC fails with: the message, and the details with the code; `None` if it doesn't fail."""
    try:
        call()
    except grpc.RpcError as error:
        trailers = [value for _, value in error.trailing_metadata()]
        details = [value for value in trailers if isinstance(value, bytes)]
        return f"{error.details()} {b' '.join(details).decode(errors='replace')}"
    return None
