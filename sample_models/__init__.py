"""Sample models and the handwritten digits they are scanned on: healthy ones and one for each kind of collapse."""
