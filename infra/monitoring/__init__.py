"""What an operator looks at: alarms, a dashboard, questions to the logs, notices."""
