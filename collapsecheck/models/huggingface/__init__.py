"""Encoders of Hugging Face's transformers and sentence-transformers, from a directory alone.

The classes are those of the installed transformers library; code in the directory, or named in it, never runs, and
nothing is downloaded. The weights are read as everywhere, as data.
"""
