"""Processes in the place of AWS's machines: Lambda functions, Fargate tasks, Batch jobs."""
