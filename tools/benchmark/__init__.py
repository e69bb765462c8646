"""What ``tools/benchmark`` is made of."""
