"""Records by Kafka: consumed from a topic, answered on another; verdicts come back by a third."""
