"""What `benchmarks/confusion.py` is made of: models to scan, outcomes, and tables of them."""
