"""What `benchmarks/casebook.py` is made of: reports of users, replayed on small models."""
