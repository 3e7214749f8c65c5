"""The topic from outside: what is sent to it, at what pace, and what it holds in the end."""

import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

NUMBER = "number"
PATIENCE_SECONDS = 120


class Topic:
    """A topic of one tree's broker."""

    def __init__(self, brokers, name, partitions):
        self.name, self.places = name, range(partitions)
        self.client = {"bootstrap.servers": brokers}
        admin = AdminClient(self.client)
        admin.create_topics([NewTopic(name, partitions)])[name].result(PATIENCE_SECONDS)

    def held(self):
        """`(partition, offset, number)` of each record that Kafka has."""
        consumer = Consumer(
            {
                **self.client,
                "group.id": "held",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        ends = {}
        for partition in self.places:
            place = TopicPartition(self.name, partition, 0)
            ends[partition] = consumer.get_watermark_offsets(place, PATIENCE_SECONDS)[1]
        consumer.assign(
            [TopicPartition(self.name, partition, 0) for partition in self.places]
        )
        records, open_ = [], {partition for partition, end in ends.items() if end}
        while open_:
            record = consumer.poll(PATIENCE_SECONDS)
            if record is None:
                raise SystemExit("the topic can't be read back")
            error = record.error()
            if error and error.code() == KafkaError._PARTITION_EOF:
                open_.discard(record.partition())
            elif error and error.fatal():
                raise SystemExit(f"the topic can't be read back: {error}")
            elif not error:
                number = int(dict(record.headers())[NUMBER])
                records.append((record.partition(), record.offset(), number))
        consumer.close()
        return records


class Sender(threading.Thread):
    """Sends records at an even pace; goes on where it was when the broker is back."""

    def __init__(self, topic, records, order, per_second):
        super().__init__(daemon=True)
        self.topic, self.records, self.order, self.per_second = (
            topic,
            records,
            order,
            per_second,
        )
        self.sent, self.refused = 0, []
        # Nothing is given up: what is not acknowledged yet is sent again, once.
        settings = {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 0}
        self.producer = Producer({**topic.client, **settings})

    def run(self):
        """Until everything is acknowledged."""
        began = time.monotonic()
        for number in self.order:
            due = began + self.sent / self.per_second
            while (early := due - time.monotonic()) > 0:
                self.producer.poll(min(early, 0.1))
            self.send(number)
            self.sent += 1
        while self.producer.flush(1):
            pass

    def send(self, number):
        """One record, once there is room for it."""
        key, value = self.records[number]
        while True:
            try:
                self.producer.produce(
                    self.topic.name,
                    value,
                    key,
                    headers={NUMBER: str(number)},
                    on_delivery=self.told,
                )
                return
            except BufferError:
                self.producer.poll(0.1)

    def told(self, error, _record):
        """What became of a record."""
        if error:
            self.refused.append(str(error))
