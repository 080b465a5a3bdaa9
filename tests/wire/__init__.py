"""What others rely on: the shapes of requests, answers, messages and tasks."""
