"""Checks each line of a file against OCSF's published schema, in the version and with the profiles that the line names."""

import collections
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas, checked, wrong = {}, collections.Counter(), 0
for number, line in enumerate(open(sys.argv[1], encoding="utf-8"), 1):
    event = json.loads(line)
    metadata = event["metadata"]
    key = (metadata["version"], event["class_uid"], tuple(metadata["profiles"]))
    if key not in schemas:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(key[0]))
        name = schema.lookup_class_name_from_uid(key[1])
        schemas[key] = Draft202012Validator(schema.get_class_schema(name, list(key[2])))
    for error in schemas[key].iter_errors(event):
        wrong += 1
        print(f"line {number}, {metadata['event_code']}, {error.json_path}: {error.message[:300]}")
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        wrong += 1
        print(f"line {number}: type_uid {event['type_uid']} is not of its class and activity")
    checked[f"{event['class_uid']}/{event['activity_id']}"] += 1
print(json.dumps({"checked": sum(checked.values()), "types": sorted(checked), "wrong": wrong}))
sys.exit(1 if wrong else 0)
