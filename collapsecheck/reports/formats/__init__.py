"""One file per format; its name is what `--format` takes."""
