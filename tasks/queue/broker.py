"""The Celery app, its queues, and the messages that notify workers.

A message says only that a queue has work. The jobs are in the ledger, so a message that is lost, doubled or late does no
harm: the keeper notifies again, and a worker that finds no job waits for the next message.
"""

import logging
from pathlib import Path
from types import MethodType
from typing import Any, cast

from celery import Celery, bootsteps
from kombu.entity import Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from portrait.errors import OperatorError
from tasks.jobs import QUEUES
from tasks.queue import filesystem
from tasks.settings import TaskSettings

# A sender does not wait for a broker that is away: the keeper notifies again. Workers try for ever (see `create_app`).
_NO_RETRIES = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "connect_retries_timeout": 2}
TASK = "portrait.answer"
"""Name of the one Celery task: run the next job of a queue."""
_log = logging.getLogger("portrait.broker")


class NoPrefetch(bootsteps.StartStopStep):
    """A Celery bootstep that leaves messages in the broker while this worker is busy, so that they reach one that is not.

    Celery reserves one message ahead. It can do without on Redis alone (`worker_disable_prefetch`), by the same means.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Let the channel take a message only when a process is free to handle it."""
        from celery.worker import state

        quota = getattr(parent.task_consumer.channel, "qos", None)
        if quota is None or not hasattr(quota, "can_consume"):
            return  # AMQP pushes messages; the keeper's next pass notifies of what waits behind a busy worker
        before = quota.can_consume

        def can_consume(_: Any) -> bool:
            return len(state.reserved_requests) < parent.pool.num_processes and before()

        quota.can_consume = MethodType(can_consume, quota)


def create_app(settings: TaskSettings) -> Celery:
    """Create the Celery app of an installation; raises `OperatorError` (`bad_settings`, `cannot_write`)."""
    url, options = _transport(settings)
    app = Celery("portrait", broker=url, set_as_current=False)
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue="io",
        task_create_missing_queues=False,
        task_ignore_result=True,
        broker_connection_timeout=2,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        # A process that died has no result that anybody waits for: its place is free for the next job sooner than after 10 s.
        worker_lost_wait=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    cast("dict[str, set[type]]", app.steps)["consumer"].add(NoPrefetch)
    return app


def notify(app: Celery, queue: str) -> bool:
    """Notify the workers of a queue that there is work; False when the broker does not answer, which does no harm."""
    try:
        app.send_task(TASK, args=[queue], queue=queue, ignore_result=True)
    except (OperationalError, OSError) as error:
        _log.warning("no message could be sent to the queue %s: %s", queue, type(error).__name__)
        return False
    return True


def pending_messages(app: Celery, queue: str) -> int | None:
    """Count the messages of a queue that no worker has read yet; None when the broker does not answer."""
    with app.connection_for_write() as connection:
        try:
            return connection.default_channel.queue_declare(queue, passive=True).message_count
        except connection.channel_errors:
            return 0  # no such queue yet; Redis has none while it is empty
        except (OperationalError, OSError, *connection.connection_errors) as error:
            _log.warning("the broker does not answer: %s", type(error).__name__)
            return None


def _transport(settings: TaskSettings) -> tuple[str, dict[str, Any]]:
    """Return kombu's broker URL and transport options; creates the folders of the filesystem broker."""
    scheme, _, place = settings.broker.partition("://")
    if scheme in {"redis", "rediss"}:
        # Early acknowledgement: nothing is ever unacknowledged for long, so the visibility timeout cannot double a job.
        timeouts = {"socket_connect_timeout": 2, "socket_timeout": 10, "visibility_timeout": 3600}
        return settings.broker, _NO_RETRIES | timeouts
    if scheme in {"amqp", "amqps", "pyamqp"}:
        return settings.broker, {**_NO_RETRIES}
    if scheme == "memory":
        return settings.broker, {}
    if scheme != "filesystem" or not place:
        raise OperatorError("bad_settings", "tasks.broker is filesystem:///FOLDER, redis://… or amqp://….")
    folder = Path(place).absolute()
    queue, control, done = (folder / name for name in ("queue", "control", "done"))
    try:
        for each in (queue, control, done):
            each.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError("cannot_write", f"The folder of the broker cannot be made: {error.strerror}.") from error
    places = {"data_folder_in": str(queue), "data_folder_out": str(queue), "processed_folder": str(done)}
    TRANSPORT_ALIASES[filesystem.NAME] = "tasks.queue.filesystem:Transport"  # how kombu finds a transport by name
    options = {"control_folder": control, "store_processed": False, "polling_interval": settings.polling}
    return f"{filesystem.NAME}://localhost", places | options
