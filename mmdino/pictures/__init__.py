"""Figures of attention, neighbours, classes and runs."""
