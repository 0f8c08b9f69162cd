"""What calls the Lambdas: queues, schedules, event patterns, each a loop."""
