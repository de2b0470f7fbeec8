"""What the service tells the world: logs, traces, metrics and errors, none on the critical path."""
