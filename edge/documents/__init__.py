"""Read the documents that people write, and tell the mistakes in them in their writer's words."""
