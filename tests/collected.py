"""What a collector of traces gets, as the tests read it: names, attributes, who is whose parent."""

import json

import attr


@attr.frozen
class Span:
    trace: str
    id: str
    parent: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict
    status: dict
    resource: dict


def _value(value):
    [(kind, said)] = value.items()
    if kind == "intValue":
        assert isinstance(said, str), "64 bits are text"
        return int(said)
    assert kind == "stringValue"
    return said


def _attributes(said):
    found = {one["key"]: _value(one["value"]) for one in said}
    assert len(found) == len(said), "each is there once"
    return found


def spansOf(*bodies):
    """@return: all spans of some requests, in their order."""
    found = []
    for body in bodies:
        secondOpinion(body)
        for told in json.loads(body)["resourceSpans"]:
            resource = _attributes(told["resource"]["attributes"])
            for scope in told["scopeSpans"]:
                assert scope["scope"]["name"] == "lbtwist"
                for one in scope["spans"]:
                    times = one["startTimeUnixNano"], one["endTimeUnixNano"]
                    assert all(isinstance(time, str) for time in times)
                    assert one["flags"] == 1
                    found.append(Span(
                        one["traceId"], one["spanId"], one.get("parentSpanId", ""), one["name"],
                        one["kind"], *map(int, times), _attributes(one["attributes"]),
                        one.get("status", {}), resource,
                    ))  # fmt: skip
    return found


def secondOpinion(body):
    """OpenTelemetry's own definition reads it, where that is installed, and knows every field."""
    try:
        from google.protobuf import json_format
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    except ImportError:
        return
    # The only thing that JSON of OTLP has otherwise: ids are base64 in that of protobuf.
    said = json.loads(body)
    for told in said["resourceSpans"]:
        for scope in told["scopeSpans"]:
            for one in scope["spans"]:
                for name, size in (("traceId", 16), ("spanId", 8), ("parentSpanId", 8)):
                    if name in one:
                        assert len(bytes.fromhex(one.pop(name))) == size
    json_format.ParseDict(said, trace_service_pb2.ExportTraceServiceRequest())
