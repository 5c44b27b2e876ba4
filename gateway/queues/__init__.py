"""Durable queues behind one protocol: RabbitMQ, the embedded SQLite queue, and failover from one to the other."""
