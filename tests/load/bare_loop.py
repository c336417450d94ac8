"""What a streamer can be held against: the same client consumes and produces, and nothing lies between.

python -m tests.load.bare_loop BROKERS IN OUT send     # message by message, as most write it
python -m tests.load.bare_loop BROKERS IN OUT batch    # in batches, as the streamer does
"""

import asyncio
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def loop(brokers: str, records: str, answers: str, how: str) -> None:
    consumer = AIOKafkaConsumer(
        records,
        bootstrap_servers=brokers,
        group_id=f"bare-{how}-{records}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=50,
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", max_batch_size=2**19)
    await producer.start()
    await consumer.start()
    committed = time.monotonic()
    while True:
        taken = await consumer.getmany(timeout_ms=250, max_records=1_000)
        waiting = []
        for partition, found in taken.items():
            if how == "send":
                for record in found:
                    waiting.append(
                        await producer.send(answers, record.value, record.key, partition.partition)
                    )
                continue
            batch = producer.create_batch()
            for record in found:
                while batch.append(timestamp=None, key=record.key, value=record.value) is None:  # it is full
                    waiting.append(await producer.send_batch(batch, answers, partition=partition.partition))
                    batch = producer.create_batch()
            waiting.append(await producer.send_batch(batch, answers, partition=partition.partition))
        await asyncio.gather(*waiting)
        if time.monotonic() - committed > 1.0:
            await consumer.commit()
            committed = time.monotonic()


if __name__ == "__main__":
    asyncio.run(loop(*sys.argv[1:5]))
