"""What `benchmarks/recognition.py` shows to the recogniser."""
