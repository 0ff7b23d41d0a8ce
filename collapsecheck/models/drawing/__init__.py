"""How published models look, drawn from the libraries that build them: what the shipped indices are made of."""
