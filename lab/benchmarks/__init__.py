"""Benchmarks of speed, memory and cost, and the same networks in stock Keras layers for comparison."""
