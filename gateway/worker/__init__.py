"""The worker: takes batches from the queue, decides in pure code what each delivery is, records, then acknowledges."""
