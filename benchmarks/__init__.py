"""Benchmarks of fused_rnn against torch.nn: `python -m benchmarks`, or `pytest benchmarks`."""
