"""Celery's configuration, values only: broker, queues, routes, limits.

Messages are persistent, confirmed and acknowledged late; steps are idempotent, so twice is as good as once.
"""

from kombu import Exchange, Queue

from beat_schedule import BEAT_SCHEDULE
from vai_app.dispatch import EXCHANGE, QUEUE_OF, QUEUES, REQUESTS
from vai_app.settings import settings, without_credentials

_settings = settings()
_rabbitmq = _settings.broker_url.get_secret_value().startswith(("amqp://", "amqps://"))

broker_url = _settings.broker_url.get_secret_value()
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A RabbitMQ that is starting may refuse a login or a queue for a moment: no reason to end.
broker_channel_error_retry = True
broker_connection_timeout = 4.0
broker_pool_limit = 32
# With heartbeats the worker's event loop reads from the connection for events while pool threads publish on it, and
# both can wait for ever for what the other has read. A dead peer is noticed by TCP keep-alive instead.
broker_heartbeat = 0
# Celery declares 28 queues for delays, which no message of VAI uses: as quorum queues they slow the start of RabbitMQ.
broker_native_delayed_delivery_queue_type = "classic"
broker_transport_options = (
    {"confirm_publish": True, "read_timeout": 15, "write_timeout": 10}
    if _rabbitmq
    else {"visibility_timeout": 300, "socket_timeout": 30, "socket_connect_timeout": 4}
)

# Each message is a nudge; what came of it is in the operation, so there is no result backend.
task_ignore_result = True
task_store_errors_even_if_ignored = False

_exchange = Exchange(EXCHANGE, type="topic", durable=True)
task_queues = tuple(
    Queue(name, _exchange, routing_key=name, queue_arguments={"x-queue-type": "quorum"} if _rabbitmq else None)
    for name in QUEUES
)
task_default_queue = REQUESTS
task_default_exchange = EXCHANGE
task_default_exchange_type = "topic"
task_default_routing_key = REQUESTS
task_create_missing_queues = False
task_routes = {name: {"queue": queue, "routing_key": queue} for name, queue in QUEUE_OF.items()}

task_acks_late = True
task_acks_on_failure = True
task_acks_on_timeout = True
task_reject_on_worker_lost = False
worker_prefetch_multiplier = 1
worker_pool = "threads"
worker_concurrency = _settings.worker_threads
# A thread cannot be ended from outside; its lease runs out instead.
worker_cancel_long_running_tasks_on_connection_loss = False
worker_send_task_events = True
worker_hijack_root_logger = True
task_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "UTC"

# Whoever may inspect a worker sees its configuration: Celery hides a password in it, and none in this URL.
redbeat_redis_url, redbeat_redis_options = without_credentials(_settings.redis_url.get_secret_value())
redbeat_key_prefix = "vai:beat:"
# A dead beat's lock lives five times this long.
beat_max_loop_interval = 2
beat_scheduler = "vai_app.enduring_beat:EnduringScheduler"
beat_schedule = BEAT_SCHEDULE
