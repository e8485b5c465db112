"""The reference of the acceptance bench: a bare Flask endpoint that does one insert and one publish."""

import os
import threading
import uuid

from flask import Flask, Response, jsonify, request
from kombu import Connection, Exchange
from kombu.pools import producers
from pymongo import MongoClient

app = Flask(__name__)
_client: MongoClient[dict[str, object]] = MongoClient(os.environ["BENCH_MONGODB_URL"], w="majority", journal=True)
_collection = _client["bare_flask"]["operations"]
_broker = Connection(os.environ["BENCH_BROKER_URL"], transport_options={"confirm_publish": True})
_exchange = Exchange("vai", type="topic", durable=True)
_lock = threading.Lock()


@app.post("/virtual-machines")
def create() -> tuple[Response, int]:
    """Store and publish what was asked for."""
    body = request.get_json()
    document = {"_id": uuid.uuid4().hex, "arguments": body}
    _collection.insert_one(document)
    with producers[_broker].acquire(block=True) as producer:
        producer.publish(
            [document["_id"]], exchange=_exchange, routing_key="vai.requests", serializer="json", delivery_mode=2
        )
    return jsonify(id=document["_id"]), 202
