"""Asks a server by Triton's own client: `triton.py HTTP GRPC EXPECTED`, where EXPECTED is the prediction for UA 1."""

import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

http_address, grpc_address, expected = sys.argv[1], sys.argv[2], float(sys.argv[3])
checks = 0


def check(what: str, right: bool) -> None:
    """Counts what holds, and ends at what doesn't."""
    global checks
    if not right:
        sys.exit(f"{what}: not so")
    checks += 1


def tensor(client, name: str, datatype: str, values: np.ndarray, **how):
    """One column."""
    given = client.InferInput(name, list(values.shape), datatype)
    given.set_data_from_numpy(values, **how)
    return given


def columns(client, **how) -> dict:
    """UA 1 by its keys and as a vector."""
    carrier = tensor(client, "carrier", "BYTES", np.array([b"UA"], dtype=object), **how)
    flight = tensor(client, "flight", "INT64", np.array([1], dtype=np.int64), **how)
    hour = tensor(client, "hour", "INT32", np.array([[9]], dtype=np.int32), **how)
    distance = tensor(client, "distance", "FP32", np.array([[250.0]], dtype=np.float32), **how)
    return {"entity": [carrier, flight], "vector": [distance, carrier, hour]}


def same(reply) -> bool:
    """To the last bit."""
    value = reply.as_numpy("late_probability")
    return value.dtype == np.float64 and value.tolist() == [expected]


for name, client, address in [("http", http, http_address), ("grpc", grpc, grpc_address)]:
    server = client.InferenceServerClient(address)
    check(f"{name}: live", server.is_server_live() and server.is_server_ready())
    check(f"{name}: the model is ready", server.is_model_ready("late") and server.is_model_ready("late", "1"))
    told = server.get_model_metadata("late", **({"as_json": True} if client is grpc else {}))
    check(f"{name}: inputs are keys", [one["name"] for one in told["inputs"]] == ["carrier", "flight"])
    for form, inputs in columns(client).items():
        check(f"{name}: {form}", same(server.infer("late", inputs)))
    output = client.InferRequestedOutput("late_probability")
    reply = server.infer("late", columns(client)["entity"], model_version="1", outputs=[output], request_id="7")
    check(f"{name}: one version, one output", same(reply))
    try:
        server.infer("late", columns(client)["entity"][:1])
        sys.exit(f"{name}: half of an entity was taken")
    except InferenceServerException as error:
        told = error.message()
        check(f"{name}: mistakes are told: {told}", "TM0839" in told and "its entities (carrier, flight)" in told)

    if client is http:
        # Without binary tensors, either way.
        plain = columns(client, binary_data=False)["entity"]
        wanted = [client.InferRequestedOutput("late_probability", binary_data=False)]
        if not same(server.infer("late", plain, outputs=wanted)):
            sys.exit("http: JSON alone gives another prediction")
    server.close()

print(f"{checks} checks passed")
