"""What runs: tasks, how they are registered and loaded, and how one attempt is performed."""
