"""A collector: takes OTLP/HTTP logs as OpenTelemetry's own code reads them, and prints one JSON object a record."""

import http.server
import json
import sys

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service


def value(of):
    kind = of.WhichOneof("value")
    if kind == "kvlist_value":
        return {pair.key: value(pair.value) for pair in of.kvlist_value.values}
    if kind == "array_value":
        return [value(one) for one in of.array_value.values]
    return getattr(of, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/logs" or self.headers["content-type"] != "application/x-protobuf":
            self.send_error(404)
            return
        request = service.ExportLogsServiceRequest()
        request.ParseFromString(body)
        for logs in request.resource_logs:
            for scope in logs.scope_logs:
                for record in scope.log_records:
                    # what this version of the messages does not know would be left over
                    assert record.ByteSize() > 0 and record.SerializeToString()
                    print(json.dumps({
                        "resource": attributes(logs.resource.attributes),
                        "scope": scope.scope.name,
                        "time": record.time_unix_nano,
                        "observed": record.observed_time_unix_nano,
                        "severity": [record.severity_number, record.severity_text],
                        "name": record.event_name,
                        "attributes": attributes(record.attributes),
                        "body": value(record.body),
                    }), flush=True)
        answer = service.ExportLogsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
