"""One loss a file; the file's name is what `--loss` calls it."""
