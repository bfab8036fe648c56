"""What the examples share; each module says what it holds."""
