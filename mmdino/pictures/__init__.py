"""Pictures of attention, neighbours, classes and runs."""
