"""What holds data: keys, buckets, the queues that they notify, the ledger."""
